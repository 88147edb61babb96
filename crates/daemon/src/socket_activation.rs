//! Listening sockets that systemd passes to the program (sd_listen_fds(3)): how many there are, from the environment. It
//! takes none.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::fd::RawFd;

/// The variables; the program's own processes and applications must not take them for theirs.
pub(crate) const VARIABLES: [&str; 4] =
    ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];
/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// More sockets than any unit has.
const MOST: RawFd = 64;

/// The descriptors that are passed to the process with this number; none where `variable`, which gives the values of
/// variables, has none for it.
///
/// # Errors
/// The value of `LISTEN_FDS` where that is no number of sockets.
pub(crate) fn descriptors(
    variable: impl Fn(&str) -> Option<OsString>,
    process: u32,
) -> Result<std::ops::Range<RawFd>, OsString> {
    let is_meant = variable("LISTEN_PID").is_some_and(|pid| *pid == *process.to_string());
    let Some(text) = variable("LISTEN_FDS").filter(|_| is_meant) else { return Ok(FIRST..FIRST) };
    let count = text.to_str().and_then(|text| text.parse::<RawFd>().ok());
    let count = count.filter(|count| (0..=MOST).contains(count)).ok_or(text)?;
    Ok(FIRST..FIRST + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_for_this_process() {
        let of = |fds: Option<&str>, pid: Option<&str>| {
            let variable = |name: &str| match name {
                "LISTEN_FDS" => fds.map(OsString::from),
                "LISTEN_PID" => pid.map(OsString::from),
                _ => None,
            };
            descriptors(variable, 42)
        };
        assert_eq!(of(Some("2"), Some("42")), Ok(3..5));
        assert_eq!(of(Some("2"), Some("41")), Ok(3..3));
        assert_eq!(of(Some("2"), None), Ok(3..3));
        assert_eq!(of(None, Some("42")), Ok(3..3));
        for text in ["", "two", "-1", "65"] {
            assert_eq!(of(Some(text), Some("42")), Err(text.into()));
        }
    }
}
