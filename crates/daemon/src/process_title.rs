//! What `ps` and `top` show of a process of a group.
#![forbid(unsafe_code)]

use group_config::GroupConfig;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Shows `title` where `ps` shows a command line, as far as there is room, and its beginning in `top`.
pub(crate) fn set_process_title(title: &[u8]) {
    if let Ok(name) = CString::new(title) {
        sys::set_process_name(&name);
    }
    // A process without its title serves all the same.
    let _ = sys::overwrite_arguments(title);
}

/// What a process that runs another program than its manager has to do again: its title, and its locale.
/// `is_python`: the program is a Python, which is called as the program of that version.
pub(crate) fn restore(config: &GroupConfig, is_python: bool) {
    match &config.display_name {
        Some(title) => set_process_title(title.as_bytes()),
        None if is_python => {
            set_process_title(format!("wsgi-daemon-{}", host::PYTHON_VERSION).as_bytes());
        }
        None => {
            // The program was run by its descriptor, whose number the kernel has taken for the name.
            let program = std::env::args_os().next().unwrap_or_default();
            let name = Path::new(&program).file_name().unwrap_or_default();
            if let Ok(name) = CString::new(name.as_bytes()) {
                sys::set_process_name(&name);
            }
        }
    }
    if config.identity.locale.is_some() {
        // The manager has logged that the system does not have it.
        let _ = sys::set_locale();
    }
}
