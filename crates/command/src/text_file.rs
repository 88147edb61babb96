//! Files of text that others than the caller of the command may write: sites, virtual environments, pyproject.toml. What is
//! no regular file is not opened, so that a FIFO keeps no command waiting, and none fills the memory.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::path::Path;

/// The most bytes of such a file.
const LONGEST: u64 = 4 << 20;

/// What a file holds, as bytes, and what is known of it.
///
/// # Errors
/// Those of the system, `InvalidInput` for what is no regular file, and `FileTooLarge`.
pub(crate) fn bytes(path: &Path) -> io::Result<(Vec<u8>, std::fs::Metadata)> {
    let file = sys::open_regular(path)?;
    let about = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        let why = format!("it is longer than {LONGEST} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok((bytes, about))
}

/// The same as text.
///
/// # Errors
/// Also `InvalidData` for what is not UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    as_text(bytes(path)?.0)
}

/// Bytes that are to be text.
///
/// # Errors
/// `InvalidData` where they are not UTF-8.
pub(crate) fn as_text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}
