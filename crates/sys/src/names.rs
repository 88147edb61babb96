//! How this process is called, in `top` and in `ps`.
#![allow(unsafe_code, reason = "writes the memory of this process by its address")]

use crate::threads::expect_one;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// Sets the name of this process in `top`: 15 bytes of it are shown.
pub fn set_process_name(name: &CStr) {
    // It can only fail for a name that is no address.
    let _ = rustix::thread::set_name(name);
}

/// Writes `title` over the command line of this process, which `ps` shows, as far as there is room.
///
/// From then on `std::env::args_os` gives the title as well.
///
/// # Errors
/// Without /proc, where the process may not write its own memory (`PR_SET_DUMPABLE`), and in a process of
/// several threads, where another one could be reading the arguments.
pub fn overwrite_arguments(title: &[u8]) -> io::Result<()> {
    expect_one()?;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is in parentheses and may hold anything; arg_start and arg_end are fields 48 and 49.
    let after = stat.rsplit_once(')').map(|(_, after)| after).unwrap_or_default();
    let mut fields = after.split_ascii_whitespace().skip(45).map(str::parse::<u64>);
    let (Some(Ok(start)), Some(Ok(end))) = (fields.next(), fields.next()) else { return Ok(()) };
    let room = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut bytes: Vec<u8> = title.iter().copied().take(room.saturating_sub(1)).collect();
    bytes.resize(room, 0);
    // SAFETY: the kernel gives the range as that of the arguments. They are plain bytes, which std and the C
    // library read when they are asked for them and lend to no one for longer; there is no other thread
    // that could ask at the same time. The last byte stays a NUL, so that each argument has an end in the range.
    unsafe { write_own_memory(start, &bytes) }
}

/// Writes to the memory of this process through /proc/self/mem, so that an address that cannot be written is an
/// error and no signal.
///
/// # Safety
/// The bytes at `address` must be ones that any value may be written to, and that no reference covers and no other
/// thread reads meanwhile.
unsafe fn write_own_memory(address: u64, bytes: &[u8]) -> io::Result<()> {
    File::options().write(true).open("/proc/self/mem")?.write_all_at(bytes, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_process_with_several_threads_are_not_written() {
        // The test harness itself runs this test on a thread beside the main one.
        let before = fs::read("/proc/self/cmdline").unwrap();
        assert!(overwrite_arguments(b"another title").is_err());
        assert_eq!(fs::read("/proc/self/cmdline").unwrap(), before);
    }
}
