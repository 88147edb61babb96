//! What CPython's start changes in its process: the locale of text, and with it an environment variable (PEP 538, PEP
//! 540). It is done by the main thread of a process that may start Python later, because neither may change while
//! other threads run. It must never know when Python is started.
#![forbid(unsafe_code)]

use std::env::var_os;
use std::ffi::{CStr, OsStr};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;

/// How Python is to encode text in a process that has been prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextEncoding {
    /// The locale was "C" before.
    was_c: bool,
}

impl TextEncoding {
    /// Whether Python would have switched its UTF-8 mode on by itself; the environment may still say otherwise.
    pub(super) const fn utf8_mode(self) -> bool {
        self.was_c
    }
}

/// The locales that CPython tries in place of "C".
const TARGETS: [&CStr; 3] = [c"C.UTF-8", c"C.utf8", c"UTF-8"];

/// Sets the locale that the environment names for text, and one for UTF-8 in place of "C".
///
/// # Errors
/// Where the process has other threads.
pub(super) fn prepare() -> io::Result<TextEncoding> {
    let name = match sys::set_text_locale(c"") {
        // The environment names one that this system lacks: the locale is still that of a new process.
        Err(why) if why.kind() == ErrorKind::NotFound => b"C".to_vec(),
        name => name?,
    };
    let was_c = matches!(&name[..], b"C" | b"POSIX");
    if was_c && may_replace(|name| var_os(name).map(|value| value.as_bytes().to_vec())) {
        for target in TARGETS {
            match sys::set_text_locale(target) {
                Err(why) if why.kind() == ErrorKind::NotFound => {}
                Err(why) => return Err(why),
                Ok(_) => {
                    let value = OsStr::from_bytes(target.to_bytes());
                    sys::set_variable(OsStr::new("LC_CTYPE"), value)?;
                    // That of numbers or times may be one that this system lacks; they stay as they are.
                    let _ = sys::set_locale();
                    break;
                }
            }
        }
    }
    Ok(TextEncoding { was_c })
}

/// Whether the environment permits another locale in place of "C".
fn may_replace(variable: impl Fn(&str) -> Option<Vec<u8>>) -> bool {
    variable("PYTHONCOERCECLOCALE").is_none_or(|value| value != b"0")
        && variable("LC_ALL").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_may_insist_on_the_locale_c() {
        let table = [
            ("", "", true),
            ("PYTHONCOERCECLOCALE", "0", false),
            ("PYTHONCOERCECLOCALE", "1", true),
            ("LC_ALL", "C", false),
            ("LC_ALL", "", true),
        ];
        for (set, value, expected) in table {
            let variable = |name: &str| (name == set).then(|| value.as_bytes().to_vec());
            assert_eq!(may_replace(variable), expected, "{set}={value}");
        }
    }
}
