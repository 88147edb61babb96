//! Words of memory that several processes share.
#![allow(unsafe_code, reason = "shared memory as atomics")]

use crate::files::create_memory_file;
use rustix::fs::{self, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mm::{self, MapFlags, ProtFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of memory that another process writes.
#[derive(Debug)]
pub struct ReadableWords(SharedWords);

/// Words of memory that all processes forked from this one share, and those that map the same file.
#[derive(Debug)]
pub struct SharedWords {
    memory: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the value owns its mapping, which is of the process and not of a thread, and gives out atomics only.
unsafe impl Send for SharedWords {}
// SAFETY: what `&SharedWords` gives access to are atomics, which threads may share.
unsafe impl Sync for SharedWords {}

impl ReadableWords {
    /// The first `count` words of a file that [`SharedWords::with_file_for_readers`] has made.
    ///
    /// # Errors
    /// As for [`SharedWords::of_file`].
    pub fn of_file(file: BorrowedFd<'_>, count: usize) -> io::Result<Self> {
        check_file(file, count)?;
        SharedWords::map(count, Some(file), ProtFlags::READ).map(Self)
    }

    /// The word at this index, as it is now; 0 beyond the last one. There is no way to the atomics themselves, because to
    /// write to one would end the process.
    pub fn get(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// Checks that `count` words of the file are there and stay there.
fn check_file(file: BorrowedFd<'_>, count: usize) -> io::Result<()> {
    let length = u64::try_from(fs::fstat(file)?.st_size).unwrap_or(0);
    if length < bytes(count)? as u64 {
        return Err(io::Error::other("the shared memory is too small"));
    }
    if !fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK)) {
        return Err(io::Error::other("the shared memory is not sealed"));
    }
    Ok(())
}

fn bytes(count: usize) -> io::Result<usize> {
    count.checked_mul(size_of::<AtomicU64>()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

impl SharedWords {
    /// `count` words, all 0, for this process and those forked from it.
    pub fn new(count: usize) -> io::Result<Self> {
        Self::map(count, None, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The same, and a file by which another program can map them. Its size is sealed: no other process can
    /// take away memory that this one relies on.
    pub fn with_file(count: usize) -> io::Result<(Self, OwnedFd)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = create_memory_file(flags)?;
        fs::ftruncate(&file, bytes(count)? as u64)?;
        fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        Ok((Self::map(count, Some(file.as_fd()), access)?, file))
    }

    /// The same, but by the file the memory can only be read; none where there is no `/proc` to open it by.
    pub fn with_file_for_readers(count: usize) -> io::Result<(Self, Option<OwnedFd>)> {
        let (words, file) = Self::with_file(count)?;
        // Nor can another user open it again for writing: a descriptor of it leads to the file itself.
        fs::fchmod(&file, Mode::RUSR)?;
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok((words, fs::open(name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()))
    }

    /// The first `count` words of such a file.
    ///
    /// # Errors
    /// Where the file is shorter, and where its size is not sealed: a process that truncates it would end this one.
    pub fn of_file(file: BorrowedFd<'_>, count: usize) -> io::Result<Self> {
        check_file(file, count)?;
        Self::map(count, Some(file), ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The words for the rest of the process' life.
    pub fn leak(self) -> &'static [AtomicU64] {
        // SAFETY: the mapping has this many words, and `forget` keeps it from ever being undone.
        let words = unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.count) };
        std::mem::forget(self);
        words
    }

    fn map(count: usize, file: Option<BorrowedFd<'_>>, access: ProtFlags) -> io::Result<Self> {
        let length = bytes(count)?;
        // SAFETY: a new mapping, at an address of the kernel's choice, that touches no memory of this program.
        // It is anonymous, or of a file whose first `length` bytes cannot be cut off (see the callers).
        // Where it can only be read, `ReadableWords` alone has it, which gives out no atomic.
        let memory = unsafe {
            match file {
                None => mm::mmap_anonymous(ptr::null_mut(), length, access, MapFlags::SHARED),
                Some(file) => mm::mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, 0),
            }?
        };
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, count })
    }
}

impl std::ops::Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is aligned to a page, has this many words, any bits are an AtomicU64, and it stays
        // until `drop`, which the borrow of `self` rules out.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping that this value owns; no reference to it is left,
        // because each borrows `self`. The length was computed once before, so it does not overflow.
        let _ =
            unsafe { mm::munmap(self.memory.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_of_a_file_share_their_words() {
        let (words, file) = SharedWords::with_file(3).unwrap();
        let other = SharedWords::of_file(file.as_fd(), 3).unwrap();
        words[2].store(7, Ordering::Relaxed);
        assert_eq!(other[2].load(Ordering::Relaxed), 7);
        let why = SharedWords::of_file(file.as_fd(), 4).unwrap_err();
        assert_eq!(why.to_string(), "the shared memory is too small");
        assert!(fs::ftruncate(&file, 0).is_err());
    }

    #[test]
    fn reader_sees_what_is_written_and_cannot_write_itself() {
        let (words, file) = SharedWords::with_file_for_readers(3).unwrap();
        let file = file.unwrap();
        let reader = ReadableWords::of_file(file.as_fd(), 3).unwrap();
        words[2].store(7, Ordering::Relaxed);
        assert_eq!([2, 3].map(|index| reader.get(index)), [7, 0]);
        let why = SharedWords::of_file(file.as_fd(), 3).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::fstat(&file).unwrap().st_mode & 0o777, 0o400);
    }

    #[test]
    fn file_that_could_be_cut_is_refused() {
        let file = crate::memory_file(&[0; 64]).unwrap();
        let why = SharedWords::of_file(file.as_fd(), 4).unwrap_err();
        assert_eq!(why.to_string(), "the shared memory is not sealed");
    }
}
