//! The name of the socket at which the manager of a group takes commands: Apache's parent makes it, and the command finds
//! the groups of a server by the names in its runtime directory. It must never know what is said over the socket.

use std::fmt::Write;

/// What the name of an admin socket says. Behind the prefix of all sockets it is `.SERVER.SERIAL.GROUP.admin`, where a long
/// name of a group is [`hashed`](Self::hashed), because the name of a socket has little room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdminSocketName {
    /// The name of the group; what stands for it where that is a hash.
    pub group: Vec<u8>,
    /// The process id of Apache's parent.
    pub server: u32,
    /// A number that this parent has given to no other socket.
    pub serial: u64,
}

/// How the names end.
const END: &str = ".admin";
/// The most bytes for a group in the name of a socket.
const MAX_GROUP: usize = 64;
/// Begins what stands for a long name.
const HASHED: char = '~';
/// The digits behind that.
const DIGITS: usize = 16;

impl AdminSocketName {
    /// What follows the prefix of the server's sockets. Bytes of the group's name that could be taken for something else
    /// are `%XX`.
    pub fn suffix(&self) -> String {
        let group = Self::hashed(&self.group).unwrap_or_else(|| encoded(&self.group));
        format!(".{}.{}.{group}{END}", self.server, self.serial)
    }

    /// What stands for the name of a group that is too long, or looks like this itself; `None` for any other one. It is no secret and no proof: a
    /// group can only say of itself that it has another long name that no group need have.
    pub fn hashed(group: &[u8]) -> Option<String> {
        if encoded(group).len() <= MAX_GROUP && !is_hash(group) {
            return None;
        }
        // FNV-1a, over the name as a manager knows it.
        let name = String::from_utf8_lossy(group);
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Some(format!("{HASHED}{hash:0DIGITS$x}"))
    }

    /// Whether a hash stands for the name of the group, which the group has to be asked for.
    pub fn is_hashed(&self) -> bool {
        is_hash(&self.group)
    }

    /// What a file name says; `None` where it is not that of an admin socket.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let mut parts = name.strip_suffix(END.as_bytes())?.rsplitn(4, |byte| *byte == b'.');
        let group = parts.next()?;
        let group = if is_hash(group) { group.to_vec() } else { decoded(group)? };
        let serial = number(parts.next()?)?;
        let server = u32::try_from(number(parts.next()?)?).ok()?;
        // That of the prefix, which may be empty.
        parts.next()?;
        Some(Self { group, server, serial })
    }
}

/// A name, with `%XX` for bytes that could be taken for something else.
fn encoded(group: &[u8]) -> String {
    let mut text = String::new();
    for &byte in group {
        if is_plain(byte) {
            text.push(byte.into());
        } else {
            // Writing to memory does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn is_hash(group: &[u8]) -> bool {
    let digits = group.strip_prefix(&[HASHED as u8]).unwrap_or_default();
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.len() == DIGITS && digits.iter().all(is_digit)
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
    fn long_name_of_a_group_is_a_hash() {
        let long = |group: &[u8]| {
            let name = AdminSocketName { group: group.to_vec(), server: 7, serial: 0 };
            (name.suffix(), AdminSocketName::parse(format!("wsgi{}", name.suffix()).as_bytes()))
        };
        let (one, parsed) = long(&[b'x'; 65]);
        let parsed = parsed.unwrap();
        assert_eq!(one.len(), ".7.0.~0123456789abcdef.admin".len());
        assert!(parsed.is_hashed());
        assert_eq!(
            AdminSocketName::hashed(&[b'x'; 65]).map(String::into_bytes),
            Some(parsed.group)
        );
        assert_ne!(one, long(&[b'x'; 66]).0);
        // A dot counts as three.
        assert!(long(&[b'.'; 22]).1.unwrap().is_hashed());
        let (_, short) = long(&[b'x'; 64]);
        assert_eq!(short.map(|it| (it.is_hashed(), it.group)), Some((false, vec![b'x'; 64])));
        // A name that looks like one.
        let (suffix, like) = long(b"~0123456789abcdef");
        assert!(!suffix.contains("0123456789abcdef") && like.unwrap().is_hashed(), "{suffix}");
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
            "wsgi.7.0.~0123.admin",
            "wsgi.7.0.~0123456789abcdeF.admin",
            "wsgi.7.0.%\u{e9}.admin",
            "wsgi.99999999999.0.a.admin",
            ".admin",
            "",
        ] {
            assert_eq!(AdminSocketName::parse(name.as_bytes()), None, "{name}");
        }
    }
}
