//! Which of our additions to FastCGI a requesting end takes, as its params announce.
//! It must never know what the additions are for.

use crate::Params;

/// Which private records the requesting end of a connection wants to receive.
///
/// It says so per request, in its params. Without that neither may be sent: a web server that
/// has never heard of us would take it for garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions {
    /// [`RecordType::LOG`](crate::RecordType::LOG): one level byte, then one line.
    pub log: bool,
    /// [`RecordType::FILE`](crate::RecordType::FILE): a [`FileSpan`], both numbers big-endian.
    pub file: bool,
    /// [`RecordType::INTERIM`](crate::RecordType::INTERIM): an [`Interim`](crate::Interim), before the answer. Which
    /// ones the client of a request may get its own params say.
    pub interim: bool,
}

impl Extensions {
    /// The name that announces [`log`](Self::log) in the params, with the value `1`.
    pub const LOG_NAME: &str = "MOD_WSGI_RS_LOG";
    /// The name that announces [`file`](Self::file) in the params, with the value `1`.
    pub const FILE_NAME: &str = "MOD_WSGI_RS_FILE";
    /// The name that announces [`interim`](Self::interim) in the params, with the value `1`.
    pub const INTERIM_NAME: &str = "MOD_WSGI_RS_INTERIM";

    /// The extensions that params announce: those of a request, or its common ones.
    pub fn from_params(params: Params<'_>) -> Self {
        let has = |name: &str| params.get(name.as_bytes()) == Some(b"1");
        Self {
            log: has(Self::LOG_NAME),
            file: has(Self::FILE_NAME),
            interim: has(Self::INTERIM_NAME),
        }
    }

    /// The names to put into the params, each with the value `1`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let log = self.log.then_some(Self::LOG_NAME);
        let file = self.file.then_some(Self::FILE_NAME);
        let interim = self.interim.then_some(Self::INTERIM_NAME);
        log.into_iter().chain(file).chain(interim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn only_the_value_one_announces() {
        let none = Extensions::default();
        let table: [(&[u8], Extensions); 5] = [
            (b"", Extensions::default()),
            (b"\x0f\x01MOD_WSGI_RS_LOG1", Extensions { log: true, ..none }),
            (
                b"\x0f\x01MOD_WSGI_RS_LOG0\x10\x01MOD_WSGI_RS_FILE1",
                Extensions { file: true, ..none },
            ),
            (b"\x13\x01MOD_WSGI_RS_INTERIM1", Extensions { interim: true, ..none }),
            (b"\x10\x02MOD_WSGI_RS_FILE11", Extensions::default()),
        ];
        for (block, expected) in table {
            let params = Params::parse(block, &Limits::default()).unwrap();
            assert_eq!(Extensions::from_params(params), expected);
        }
    }
}
