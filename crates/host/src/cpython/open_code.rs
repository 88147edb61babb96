//! How CPython opens the files that it runs: modules, their `.pyc` files, `.pth` files of a directory for packages. What
//! is no regular file is refused. To open a FIFO would wait for a writer, with the locks of `import` held, and the
//! process would stand still.

use pyo3_ffi as ffi;
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wsgi::ExactVersion;

/// Opens a file for reading if it is a regular one, without waiting.
///
/// # Errors
/// Those of the system, and `InvalidInput` for what is no regular file, which is not opened.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    if !path.metadata()?.is_file() {
        return Err(refused());
    }
    // It may have become another one meanwhile.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let opened = file.metadata()?;
    if !opened.is_file() {
        return Err(refused());
    }
    // Not waited for: a process that an application has forked may have no thread that would unlock it.
    if let Ok(mut imports) = IMPORTS.try_lock()
        && let Some(imports) = &mut *imports
    {
        let source = source_of(path);
        if source == path {
            imports.entry(source).or_insert_with(|| Some(ExactVersion::of(&opened)));
        } else {
            // Bytecode that CPython opens belongs to the source that is there.
            let found = source.metadata().ok();
            let version = found.as_ref().map(ExactVersion::of);
            imports.entry(source).or_insert(version);
            if found.is_some_and(|source| may_be_older(&opened, &source, SystemTime::now())) {
                // CPython compiles the source instead, and writes the bytecode again.
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "it may be of an older source",
                ));
            }
        }
    }
    Ok(file)
}

/// How long after a change of its source bytecode may still have been made of what was there before. CPython compares
/// seconds and sizes, so that a source that changes twice in a second passes for the first one.
const AMBIGUOUS: Duration = Duration::from_secs(2);
/// How long a change of a source is recent. Of older ones the bytecode counts as CPython sees it: copies and packages
/// have arbitrary times.
const RECENT: Duration = Duration::from_secs(60);

/// Whether bytecode may have been made before the last change of its `source`, which is recent `now`.
fn may_be_older(bytecode: &Metadata, source: &Metadata, now: SystemTime) -> bool {
    // The times at which the system changed the files: nothing can set them.
    let changed = |file: &Metadata| {
        let seconds = Duration::from_secs(u64::try_from(file.ctime()).unwrap_or(0));
        UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(file.ctime_nsec()).unwrap_or(0))
    };
    let source = changed(source);
    now < source + RECENT && changed(bytecode) < source + AMBIGUOUS
}

/// The versions of source files when they, or their bytecode, were opened first; `None`: that is not recorded.
static IMPORTS: Mutex<Option<HashMap<PathBuf, Option<ExactVersion>>>> = Mutex::new(None);

fn imports() -> MutexGuard<'static, Option<HashMap<PathBuf, Option<ExactVersion>>>> {
    IMPORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the version recorded with which each file of code is opened.
pub fn record_imports() {
    imports().get_or_insert_default();
}

/// The version of a source file when it, or its bytecode, was opened first, if that was recorded ([`record_imports`]).
/// Clocks are not asked for it: file systems date changes by one that stands still for milliseconds.
pub fn imported_version(source: &Path) -> Option<ExactVersion> {
    imports().as_ref()?.get(source).copied().flatten()
}

/// The source file to which a file in `__pycache__` belongs; of any other file itself.
fn source_of(file: &Path) -> PathBuf {
    let source = || {
        let folder = file.parent().filter(|folder| folder.ends_with("__pycache__"))?;
        let name = file.file_name()?.as_bytes().split(|&byte| byte == b'.').next()?;
        let name = [name, b".py"].concat();
        Some(folder.parent()?.join(OsStr::from_bytes(&name)))
    };
    source().unwrap_or_else(|| file.to_owned())
}

/// Has CPython open code by [`open_regular`]. Called before CPython is started, or attached before it has other threads.
pub(super) fn install() {
    // SAFETY: CPython has not been started, or the calling thread is attached, so that no other thread uses the hook. The function stays in memory as long
    // as the process, because the module is never unloaded (`-z nodelete`). A hook that is there already stays, and the
    // call fails.
    unsafe { PyFile_SetOpenCodeHook(open_code, std::ptr::null_mut()) };
}

type OpenCodeHook =
    unsafe extern "C" fn(path: *mut ffi::PyObject, data: *mut c_void) -> *mut ffi::PyObject;

unsafe extern "C" {
    /// In CPython since 3.8 (PEP 578), missing from the bindings.
    fn PyFile_SetOpenCodeHook(hook: OpenCodeHook, data: *mut c_void) -> c_int;
}

/// `io.open_code(path)`: a binary file, or null with an exception set.
unsafe extern "C" fn open_code(path: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: CPython calls the hook attached, with a str that it keeps during the call. The bytes object that is made
    // of it is released once, after its last use; its text is NUL-terminated.
    unsafe {
        let encoded = ffi::PyUnicode_EncodeFSDefault(path);
        if encoded.is_null() {
            return encoded;
        }
        let text = CStr::from_ptr(ffi::PyBytes_AsString(encoded));
        let opened = open_regular(Path::new(OsStr::from_bytes(text.to_bytes())));
        ffi::Py_DECREF(encoded);
        match opened {
            Ok(file) => binary_file(file),
            Err(why) => {
                set_error(path, &why);
                std::ptr::null_mut()
            }
        }
    }
}

/// The file as an object of `io`, which closes it.
///
/// # Safety
/// The calling thread is attached.
unsafe fn binary_file(file: File) -> *mut ffi::PyObject {
    let descriptor = file.into_raw_fd();
    // SAFETY: attached, as the caller promises; the texts are NUL-terminated, and -1 and null are the defaults of
    // `open()`. The object takes the descriptor over; where none is made, it is closed here, once.
    unsafe {
        let object = ffi::PyFile_FromFd(
            descriptor,
            std::ptr::null(),
            c"rb".as_ptr(),
            -1,
            std::ptr::null(),
            std::ptr::null(),
            std::ptr::null(),
            1,
        );
        if object.is_null() {
            libc::close(descriptor);
        }
        object
    }
}

/// # Safety
/// The calling thread is attached, and `path` is an object.
unsafe fn set_error(path: *mut ffi::PyObject, why: &io::Error) {
    // SAFETY: attached, as the caller promises; errno is this thread's, and the function takes references of its own.
    unsafe {
        *libc::__errno_location() = why.raw_os_error().unwrap_or(libc::EINVAL);
        ffi::PyErr_SetFromErrnoWithFilenameObject(ffi::PyExc_OSError, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytecode_is_known_by_its_source() {
        for (file, source) in [
            ("/srv/__pycache__/view.cpython-311.pyc", "/srv/view.py"),
            ("/srv/__pycache__/view.cpython-311.opt-1.pyc", "/srv/view.py"),
            ("/srv/view.py", "/srv/view.py"),
        ] {
            assert_eq!(source_of(Path::new(file)), Path::new(source));
        }
    }

    #[test]
    fn bytecode_beside_a_source_that_has_just_changed_is_not_trusted() {
        let folder = std::env::temp_dir().join(format!("bytecode-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| {
            std::fs::write(folder.join(name), "x").unwrap();
            folder.join(name).metadata().unwrap()
        };
        let (before, source, after) = (file("before"), file("source"), file("after"));
        std::fs::remove_dir_all(&folder).unwrap();
        let now = SystemTime::now();
        let is_old = |bytecode, now| may_be_older(bytecode, &source, now);
        assert_eq!([is_old(&before, now), is_old(&after, now)], [true; 2]);
        let later = now + RECENT;
        assert_eq!([is_old(&before, later), is_old(&after, later)], [false; 2]);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = std::env::temp_dir().join(format!("open-code-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let kind =
            |name: &str| open_regular(&folder.join(name)).map(drop).map_err(|why| why.kind());
        std::fs::write(folder.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("device")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        let found = ["file", "link", "device", "socket", ".", "missing"].map(kind);
        std::fs::remove_dir_all(&folder).unwrap();
        let refused = Err(io::ErrorKind::InvalidInput);
        let missing = Err(io::ErrorKind::NotFound);
        assert_eq!(found, [Ok(()), Ok(()), refused, refused, refused, missing]);
    }
}
