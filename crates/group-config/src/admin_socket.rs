//! The name of the socket at which the manager of a group takes commands: Apache's parent makes it, and the command finds
//! the groups of a server by the names in its runtime directory. It must never know what is said over the socket.

use std::fmt::Write;

/// What the name of an admin socket says. Behind the prefix of all sockets it is `.SERVER.SERIAL.GROUP.admin`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdminSocketName {
    /// The name of the group.
    pub group: Vec<u8>,
    /// The process id of Apache's parent.
    pub server: u32,
    /// A number that this parent has given to no other socket.
    pub serial: u64,
}

/// How the names end.
const END: &str = ".admin";

impl AdminSocketName {
    /// What follows the prefix of the server's sockets. Bytes of the group's name that could be taken for something else
    /// are `%XX`.
    pub fn suffix(&self) -> String {
        let mut text = format!(".{}.{}.", self.server, self.serial);
        for &byte in &self.group {
            if is_plain(byte) {
                text.push(byte.into());
            } else {
                // Writing to memory does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text + END
    }

    /// What a file name says; `None` where it is not that of an admin socket.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let mut parts = name.strip_suffix(END.as_bytes())?.rsplitn(4, |byte| *byte == b'.');
        let group = decoded(parts.next()?)?;
        let serial = number(parts.next()?)?;
        let server = u32::try_from(number(parts.next()?)?).ok()?;
        // That of the prefix, which may be empty.
        parts.next()?;
        Some(Self { group, server, serial })
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'@' | b'+' | b'=' | b',')
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                tail
            }
            (&byte, tail) if is_plain(byte) => {
                bytes.push(byte);
                tail
            }
            _ => return None,
        };
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_any_group_is_found_again_behind_any_prefix() {
        for group in [&b"site"[..], b"localhost:8000", b"a.b/c %41\n", b"", b"\xff.admin"] {
            let name = AdminSocketName { group: group.to_vec(), server: 4711, serial: 3 };
            let suffix = name.suffix();
            assert!(!suffix.contains('/') && suffix.is_ascii(), "{suffix}");
            for prefix in ["wsgi", "", "a.b.1.2"] {
                let file = format!("{prefix}{suffix}");
                assert_eq!(AdminSocketName::parse(file.as_bytes()), Some(name.clone()), "{file}");
            }
        }
        let name = AdminSocketName { group: b"a.b".to_vec(), server: 7, serial: 0 };
        assert_eq!(name.suffix(), ".7.0.a%2Eb.admin");
    }

    #[test]
    fn other_names_are_none_of_an_admin_socket() {
        for name in [
            "wsgi.7.0.sock",
            "wsgi.7.0.a.sock",
            "7.0.a.admin",
            "wsgi.x.0.a.admin",
            "wsgi.7.+1.a.admin",
            "wsgi.7..a.admin",
            "wsgi.7.0.a b.admin",
            "wsgi.7.0.%4.admin",
            "wsgi.7.0.%\u{e9}.admin",
            "wsgi.99999999999.0.a.admin",
            ".admin",
            "",
        ] {
            assert_eq!(AdminSocketName::parse(name.as_bytes()), None, "{name}");
        }
    }
}
