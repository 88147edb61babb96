//! What `ps` and `top` show of a process of a group.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::posix;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a process of the group that runs another program has to do again: how it is called, and its locale.
pub(crate) fn appear(config: &GroupConfig) {
    match &config.display_name {
        Some(name) => display(name.as_bytes()),
        None => {
            // It was started by descriptor, and the kernel has called it by that.
            let program = std::env::args_os().next().unwrap_or_default();
            let name = Path::new(&program).file_name().unwrap_or_default();
            if let Ok(name) = CString::new(name.as_bytes()) {
                posix::set_process_name(&name);
            }
        }
    }
    if config.identity.locale.is_some() {
        // That the system does not have it has been said.
        let _ = posix::set_locale();
    }
}

/// Shows `name` where `ps` shows a command line, as far as there is room.
pub(crate) fn display(name: &[u8]) {
    if let Ok(name) = CString::new(name) {
        posix::set_process_name(&name);
    }
    // Nothing depends on it.
    let _ = overwrite_arguments(name);
}

fn overwrite_arguments(name: &[u8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is in parentheses and may hold anything; arg_start and arg_end are 48 and 49.
    let after = stat.rsplit_once(')').map(|(_, after)| after).unwrap_or_default();
    let mut fields = after.split_ascii_whitespace().skip(45).map(str::parse::<u64>);
    let (Some(Ok(start)), Some(Ok(end))) = (fields.next(), fields.next()) else { return Ok(()) };
    let room = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut bytes: Vec<u8> = name.iter().copied().take(room.saturating_sub(1)).collect();
    bytes.resize(room, 0);
    fs::File::options().write(true).open("/proc/self/mem")?.write_all_at(&bytes, start)
}
