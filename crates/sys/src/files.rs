//! Files by their descriptors, and files in memory.
#![allow(unsafe_code, reason = "dladdr")]

use rustix::fs::{self, AtFlags, FileType, Gid, MemfdFlags, Mode, OFlags, StatxFlags, Uid};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, IoSlice, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file in memory that holds `content`, ready to be read from its start. Other processes have it by
/// inheriting the descriptor.
pub fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(create_memory_file(MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// An empty file in memory that no process can execute. Kernels before 6.3 do not know that flag and refuse it; those
/// where the administrator has forbidden files that can be executed (`vm.memfd_noexec=2`) refuse its absence.
pub(crate) fn create_memory_file(flags: MemfdFlags) -> io::Result<OwnedFd> {
    match fs::memfd_create(c"mod_wsgi_rs", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => Ok(fs::memfd_create(c"mod_wsgi_rs", flags)?),
        created => Ok(created?),
    }
}

/// An empty file for reading and writing that has no name in `directory`, and is gone once it is closed.
///
/// # Errors
/// Those of open(2).
pub fn unnamed_file(directory: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::EXCL;
    match fs::open(directory, flags | OFlags::TMPFILE, mode) {
        // Not every file system can do that.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        opened => return Ok(opened?.into()),
    }
    loop {
        let number = UNNAMED.fetch_add(1, Ordering::Relaxed);
        let name = format!("mod_wsgi_rs-{}-{number}", std::process::id());
        let path = directory.join(name);
        match fs::open(&path, flags | OFlags::CREATE | OFlags::NOFOLLOW, mode) {
            Err(Errno::EXIST) => {}
            opened => {
                let file = opened?;
                fs::unlink(&path)?;
                return Ok(file.into());
            }
        }
    }
}

/// Writes all of several slices, one after the other, to a file from `offset` on.
///
/// # Errors
/// Those of pwritev(2).
pub fn write_all_at(file: BorrowedFd<'_>, slices: &[&[u8]], offset: u64) -> io::Result<()> {
    let mut all: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    let (mut rest, mut at) = (&mut all[..], offset);
    while rest.iter().any(|slice| !slice.is_empty()) {
        let some = rest.get(..MAX_SLICES).unwrap_or(rest);
        match rustix::io::pwritev(file, some, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                at += count as u64;
                IoSlice::advance_slices(&mut rest, count);
            }
            Err(Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// More slices than one `pwritev` takes (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// Counts the names that [`unnamed_file`] has used for a moment.
static UNNAMED: AtomicU64 = AtomicU64::new(0);

/// The space of a file system that is free for users without privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// In bytes; `None` where the file system does not say how large it is.
    pub bytes: Option<u64>,
    /// It is less than a tenth of the file system, and less than a gigabyte.
    pub is_low: bool,
}

/// What is free of the file system of `file`.
///
/// # Errors
/// Those of fstatvfs(3).
pub fn free_space(file: BorrowedFd<'_>) -> io::Result<FreeSpace> {
    const ENOUGH: u64 = 1 << 30;
    let system = fs::fstatvfs(file)?;
    let bytes = system.f_bavail.saturating_mul(system.f_frsize);
    Ok(FreeSpace {
        bytes: (system.f_blocks > 0).then_some(bytes),
        is_low: system.f_bavail < system.f_blocks / 10 && bytes < ENOUGH,
    })
}

/// The length in bytes of a regular file that can be read; `None` where it is something else, which might block
/// or have no length.
pub fn readable_length(file: BorrowedFd<'_>) -> Option<u64> {
    let mode = fs::fcntl_getfl(file).ok()?;
    let access = mode & OFlags::ACCMODE;
    if mode.contains(OFlags::PATH) || access == OFlags::WRONLY {
        return None;
    }
    // What is known already: a file system that is elsewhere, or that is a program, is not asked.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let wanted = StatxFlags::TYPE | StatxFlags::SIZE;
    let status = fs::statx(file, c"", flags, wanted).ok()?;
    let is_regular = FileType::from_raw_mode(status.stx_mode.into()) == FileType::RegularFile;
    is_regular.then_some(status.stx_size)
}

/// Gives a file to a user and a group. It may have been opened with `O_PATH`, and its name plays no part.
pub fn chown_descriptor(
    file: BorrowedFd<'_>,
    owner: Option<u32>,
    group: Option<u32>,
) -> io::Result<()> {
    let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
    Ok(fs::chownat(file, c"", owner, group, AtFlags::EMPTY_PATH)?)
}

/// The file of this name itself, not what a link in its place leads to, and not to be read (`O_PATH`).
pub fn open_path(path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::open(path, flags, Mode::empty())?.into())
}

/// Opens a file for reading if it is a regular one. To open a FIFO would wait for a writer, and to open a device may have
/// an effect.
///
/// # Errors
/// Those of open(2), and `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    if !path.metadata()?.is_file() {
        return Err(refused());
    }
    // It may have become another one meanwhile.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused()) }
}

/// The memory of this process that is resident, in bytes; `None` without /proc.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages = text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The file that `address`, a function of the caller's, was loaded from.
pub fn loaded_from(address: *const ()) -> Option<PathBuf> {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked for. The structure is filled when the answer is not 0, and its name is
    // a string of the loader, which stays as long as the object is loaded; it is copied at once.
    unsafe {
        if libc::dladdr(address.cast(), info.as_mut_ptr()) == 0 {
            return None;
        }
        let name = CStr::from_ptr(info.assume_init().dli_fname);
        Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn unnamed_file_can_be_written_and_read_and_leaves_no_name() {
        use std::os::unix::fs::FileExt;
        let directory = std::env::temp_dir().join(format!("sys-unnamed-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let file = unnamed_file(&directory).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        write_all_at(file.as_fd(), &[b"con", b"", b"tent"], 3).unwrap();
        let mut read = [9; 10];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"\0\0\0content");
        assert!(free_space(file.as_fd()).is_ok_and(|free| free.bytes.is_some()));
        drop(file);
        std::fs::remove_dir(&directory).unwrap();
        assert_eq!(unnamed_file(&directory).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn file_in_memory_cannot_be_executed_where_the_kernel_knows_of_it() {
        let known = fs::memfd_create(c"test", MemfdFlags::NOEXEC_SEAL).is_ok();
        let (_, shared) = crate::SharedWords::with_file(1).unwrap();
        for file in [memory_file(b"content").unwrap(), shared] {
            let mode = fs::fstat(file.as_fd()).unwrap().st_mode;
            assert_eq!(mode & 0o111 == 0, known, "{mode:o}");
        }
    }
}
