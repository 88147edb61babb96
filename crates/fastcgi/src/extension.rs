//! What we add to FastCGI: a log line with a level, and an open file in place of its bytes.
//! It must never know where a log goes or what a descriptor is; that travels beside the bytes.

use std::fmt;

use crate::Params;
use crate::WireError;

/// The name of a first pair that announces common params, which most requests on a connection share.
/// Its value is how many bytes of pairs behind it are to be remembered (decimal); an empty value means
/// that the ones remembered hold for this request, too.
pub(crate) const COMMON_VARIABLES_NAME: &[u8] = b"MOD_WSGI_RS_COMMON";

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
}

impl Extensions {
    /// The name that announces [`log`](Self::log) in the params, with the value `1`.
    pub const LOG_NAME: &str = "MOD_WSGI_RS_LOG";
    /// The name that announces [`file`](Self::file) in the params, with the value `1`.
    pub const FILE_NAME: &str = "MOD_WSGI_RS_FILE";

    /// The extensions that params announce: those of a request, or its common ones.
    pub fn from_params(params: Params<'_>) -> Self {
        let has = |name: &str| params.get(name.as_bytes()) == Some(b"1");
        Self { log: has(Self::LOG_NAME), file: has(Self::FILE_NAME) }
    }

    /// The names to put into the params, each with the value `1`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let log = self.log.then_some(Self::LOG_NAME);
        let file = self.file.then_some(Self::FILE_NAME);
        log.into_iter().chain(file)
    }
}

/// How grave a log line is, in the numbers of syslog and of Apache's `APLOG_…`: 0 is the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogLevel(u8);

impl LogLevel {
    /// The server cannot be used.
    pub const EMERG: Self = Self(0);
    /// Somebody must act now.
    pub const ALERT: Self = Self(1);
    /// Critical.
    pub const CRIT: Self = Self(2);
    /// An error.
    pub const ERR: Self = Self(3);
    /// A warning.
    pub const WARNING: Self = Self(4);
    /// Normal but worth a line.
    pub const NOTICE: Self = Self(5);
    /// For information.
    pub const INFO: Self = Self(6);
    /// For developers.
    pub const DEBUG: Self = Self(7);
    /// The first of Apache's eight trace levels.
    pub const TRACE1: Self = Self(8);
    /// The last of them.
    pub const TRACE8: Self = Self(15);

    /// The level of that number, if Apache knows it.
    pub const fn from_wire(number: u8) -> Option<Self> {
        if number <= Self::TRACE8.0 { Some(Self(number)) } else { None }
    }

    /// Its number, as Apache's `ap_log_rerror` wants it.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];
        match names.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "trace{}", self.0 - Self::DEBUG.0),
        }
    }
}

/// A piece of the file whose descriptor comes with the record.
///
/// Descriptors come in the order of their records: the n-th file record of a connection goes
/// with the n-th descriptor received on it. A receiver must check that the file has such a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpan {
    /// Bytes before it.
    pub offset: u64,
    /// Bytes of it.
    pub length: u64,
}

impl FileSpan {
    /// Reads the content of a file record.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        let (offset, length) = content.split_first_chunk()?;
        let length = length.first_chunk()?;
        Some(Self { offset: u64::from_be_bytes(*offset), length: u64::from_be_bytes(*length) })
    }
}

/// Reads the content of a log record.
pub(crate) fn parse_log(content: &[u8]) -> Result<(LogLevel, &[u8]), WireError> {
    let Some((&number, line)) = content.split_first() else {
        return Err(WireError::BadLogLevel { level: None });
    };
    match LogLevel::from_wire(number) {
        Some(level) => Ok((level, line)),
        None => Err(WireError::BadLogLevel { level: Some(number) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn only_the_value_one_announces() {
        let table: [(&[u8], Extensions); 4] = [
            (b"", Extensions::default()),
            (b"\x0f\x01MOD_WSGI_RS_LOG1", Extensions { log: true, file: false }),
            (
                b"\x0f\x01MOD_WSGI_RS_LOG0\x10\x01MOD_WSGI_RS_FILE1",
                Extensions { log: false, file: true },
            ),
            (b"\x10\x02MOD_WSGI_RS_FILE11", Extensions::default()),
        ];
        for (block, expected) in table {
            let params = Params::parse(block, &Limits::default()).unwrap();
            assert_eq!(Extensions::from_params(params), expected);
        }
    }

    #[test]
    fn levels_are_apaches() {
        let table = [(0, "emerg"), (3, "error"), (7, "debug"), (8, "trace1"), (15, "trace8")];
        for (number, name) in table {
            assert_eq!(
                LogLevel::from_wire(number).map(|level| level.to_string()),
                Some(name.into())
            );
        }
        assert_eq!(LogLevel::from_wire(16), None);
    }
}
