//! `environment=`: which variables daemon processes find in their environment.

use crate::byte_string;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What the processes of a group have of Apache's environment, and what they have beside it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Environment {
    /// All of it, but for what is addressed to Apache itself; otherwise what every process needs.
    pub inherit: bool,
    /// Variables that are inherited in any case.
    #[serde(with = "byte_string")]
    pub names: Vec<OsString>,
    /// Variables with the values that the line gives them.
    #[serde(with = "byte_string")]
    pub values: Vec<(OsString, OsString)>,
}

/// What systemd says to the process that it has started, by descriptors and process ids that are Apache's.
const OF_THE_SERVICE: [&str; 6] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];
/// Where programs are, the language and the time zone of the machine, and where temporary files belong.
const NEEDED: [&str; 5] = ["PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR"];

impl Default for Environment {
    fn default() -> Self {
        Self { inherit: true, names: Vec::new(), values: Vec::new() }
    }
}

impl Environment {
    /// What every process of a group has, and a program that still runs as root has alone.
    pub fn is_needed(name: &OsStr) -> bool {
        NEEDED.iter().any(|needed| name == *needed) || name.as_bytes().starts_with(b"LC_")
    }

    /// Whether a variable of Apache's environment is passed on; not one that cannot be set, because its name has an
    /// equals sign.
    pub fn passes(&self, name: &OsStr) -> bool {
        if name.as_bytes().contains(&b'=') {
            return false;
        }
        let for_all = !OF_THE_SERVICE.iter().any(|own| name == *own);
        Self::is_needed(name)
            || self.inherit && for_all
            || self.names.iter().any(|named| named == name)
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;
    use std::ffi::OsStr;

    #[test]
    fn variables_of_the_service_are_passed_on_only_by_name() {
        let named = Environment { names: vec!["NOTIFY_SOCKET".into()], ..Environment::default() };
        let none = Environment { inherit: false, ..Environment::default() };
        let only = Environment { inherit: false, names: vec!["SECRET".into()], values: Vec::new() };
        for (environment, name, expected) in [
            (&Environment::default(), "SECRET", true),
            (&Environment::default(), "LD_PRELOAD", true),
            (&Environment::default(), "NOTIFY_SOCKET", false),
            (&Environment::default(), "LISTEN_FDS", false),
            (&named, "NOTIFY_SOCKET", true),
            (&none, "SECRET", false),
            (&none, "PATH", true),
            (&none, "LC_TIME", true),
            (&only, "SECRET", true),
            (&only, "OTHER", false),
        ] {
            assert_eq!(environment.passes(OsStr::new(name)), expected, "{name} of {environment:?}");
        }
    }
}
