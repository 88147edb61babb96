//! What we add to FastCGI: a log line with a level, an open file in place of its bytes, and the params and
//! statuses by which Apache's children and the workers of a process group understand each other.
//! It must never know where a log goes or what a descriptor is; that travels beside the bytes.

use crate::WireError;

/// The name of a first pair that announces common params, which most requests on a connection share.
/// Its value is how many bytes of pairs behind it are to be remembered (decimal); an empty value means
/// that the ones remembered hold for this request, too.
pub(crate) const COMMON_VARIABLES_NAME: &[u8] = b"MOD_WSGI_RS_COMMON";

/// Names of params that Apache's children send beside the variables of a request. The worker does not pass
/// them on to the application, but for [`CALLABLE_OBJECT`](param::CALLABLE_OBJECT) and
/// [`APPLICATION_GROUP`](param::APPLICATION_GROUP).
pub mod param {
    /// The secret of the group, by which its workers know requests of Apache's children.
    pub const SECRET: &[u8] = b"mod_wsgi.x-secret";
    /// The same from a web server without the module, as a name that every one of them can send.
    pub const FRONT_END_SECRET: &[u8] = b"MOD_WSGI_RS_SECRET";
    /// The script file, as the worker sees it.
    pub const SCRIPT: &[u8] = b"mod_wsgi.x-script";
    /// The version of the script file: the time of its modification in microseconds since the epoch, its size in bytes and
    /// its inode, decimal, with spaces between them.
    pub const MODIFIED: &[u8] = b"mod_wsgi.x-modified";
    /// Whether a script that has changed is loaded again: `1` or `0`.
    pub const RELOADING: &[u8] = b"mod_wsgi.x-reloading";
    /// The request may wait for a worker with new code (`WSGIScriptReloading Wait`): since when it does, in
    /// microseconds of the scoreboard's clock (decimal), 0 where it has not waited yet; empty: it waits no more.
    pub const WAITING_SINCE: &[u8] = b"mod_wsgi.x-waiting-since";
    /// `1`: a request whose script the worker cannot load may go to another worker
    /// ([`NotLoaded`](super::app_status::NotLoaded)).
    pub const TRIES_OTHERS: &[u8] = b"mod_wsgi.x-tries-others";
    /// `1`: the request does not count as activity of the worker.
    pub const IGNORE_ACTIVITY: &[u8] = b"mod_wsgi.x-ignore-activity";
    /// The log level of the request, where it is not that of the group: an `APLOG_*` number (decimal).
    pub const LOG_LEVEL: &[u8] = b"mod_wsgi.x-log-level";
    /// `1`: the client has asked for a WebSocket, and the connection may become one
    /// ([`SWITCHED`](super::app_status::SWITCHED)).
    pub const WEBSOCKET: &[u8] = b"mod_wsgi.x-websocket";
    /// `1`: the client waits for `100 Continue`, and the web server reads nothing of the body before the application asks
    /// for it ([`Interim::Continue`](super::Interim::Continue)).
    pub const CONTINUE: &[u8] = b"mod_wsgi.x-continue";
    /// `1`: the client may get [`Interim::EarlyHints`](super::Interim::EarlyHints).
    pub const EARLY_HINTS: &[u8] = b"mod_wsgi.x-early-hints";
    /// `1`: the client gets no body.
    pub const HEADER_ONLY: &[u8] = b"mod_wsgi.x-header-only";
    /// The name of the application object in the script.
    pub const CALLABLE_OBJECT: &[u8] = b"mod_wsgi.callable_object";
    /// The application group; empty is that of the main interpreter.
    pub const APPLICATION_GROUP: &[u8] = b"mod_wsgi.application_group";
}

/// What Apache sends first on a connection that has become a WebSocket, once the client has its 101. The worker sends nothing
/// before.
pub mod tunnel {
    /// The bytes of the WebSocket follow, in both directions. The end of the client's is that of the WebSocket: where the
    /// worker can still write, the web server is about to end.
    pub const BYTES: u8 = b'B';
    /// The client's socket comes with this byte. What follows up to the end of the connection has been read from it.
    pub const SOCKET: u8 = b'S';
}

/// Values of `app_status` by which a worker says how a response ended. A [`StatusOnly`](app_status::StatusOnly) is
/// one, too.
pub mod app_status {
    /// The body is shorter than its `Content-Length`; the worker has logged it.
    pub const SHORT: u32 = 1;
    /// The application failed after the head was sent; the worker has logged it and closes the connection.
    pub const ABORTED: u32 = 2;
    /// Nothing has been done for the request: the worker has old code, and will be replaced. Only for a request that
    /// may wait ([`WAITING_SINCE`](super::param::WAITING_SINCE)).
    pub const OUTDATED: u32 = 3;

    /// The application has accepted a WebSocket: from now on the connection carries no records ([`tunnel`](super::tunnel)).
    /// The head, of status 101, has the fields that are the application's. Only for a request that asks for one
    /// ([`WEBSOCKET`](super::param::WEBSOCKET)).
    pub const SWITCHED: u32 = 4;

    /// Why a worker answers a request with a status alone.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Cause {
        /// The application has raised, or has not answered.
        Application,
        /// The request had waited longer than `queue-timeout`; the worker has logged it.
        QueueTimeout,
        /// The request took longer than a limit on its time; the worker has logged it.
        RequestTimeout,
        /// The worker stops; it has logged it.
        Stopping,
        /// The script cannot be loaded; the worker has logged it.
        Load,
        /// The request body could not be read.
        RequestBody,
        /// The worker has no room for the request; it has logged it.
        Overloaded,
        /// The application has not started; the worker has logged it.
        NotStarted,
    }

    impl Cause {
        const ALL: [Self; 8] = [
            Self::Application,
            Self::QueueTimeout,
            Self::RequestTimeout,
            Self::Stopping,
            Self::Load,
            Self::RequestBody,
            Self::Overloaded,
            Self::NotStarted,
        ];
    }

    /// A request without a response: the HTTP status for it, and why.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct StatusOnly {
        /// The HTTP status.
        pub status: u16,
        /// Why there is no response.
        pub cause: Cause,
    }

    impl StatusOnly {
        /// The number that says so.
        pub fn to_wire(self) -> u32 {
            (self.cause as u32) << 16 | u32::from(self.status)
        }

        /// What the number says, if it is one of these. A cause that is unknown is the application.
        pub fn from_wire(number: u32) -> Option<Self> {
            let [mark, cause, high, low] = number.to_be_bytes();
            let status = u16::from_be_bytes([high, low]);
            let cause = Cause::ALL.get(usize::from(cause)).copied().unwrap_or(Cause::Application);
            (mark == 0 && (400..600).contains(&status)).then_some(Self { status, cause })
        }
    }

    /// Marks the number of a [`NotLoaded`]; no HTTP status has this bit.
    const NOT_LOADED: u32 = 1 << 31;

    /// Nothing has been done for the request: the worker cannot load the script, which it has logged, and another worker
    /// has it. Only for a request that may go there ([`TRIES_OTHERS`](super::param::TRIES_OTHERS)).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct NotLoaded {
        /// The HTTP status where no other worker serves the request.
        pub status: u16,
        /// The number of the script on the scoreboard.
        pub script: u8,
    }

    impl NotLoaded {
        /// The number that says so.
        pub fn to_wire(self) -> u32 {
            NOT_LOADED | u32::from(self.script) << 16 | u32::from(self.status)
        }

        /// What the number says, if it is one of these.
        pub fn from_wire(number: u32) -> Option<Self> {
            let [mark, script, high, low] = number.to_be_bytes();
            let status = u16::from_be_bytes([high, low]);
            let is_one = mark == 0x80 && (400..600).contains(&status);
            is_one.then_some(Self { status, script })
        }
    }
}

/// Bits of a queue time that are kept of its first digits.
const QUEUE_TIME_DIGITS: u32 = 19;

/// How long a request has waited, in microseconds, as the three last bytes of an END_REQUEST, which FastCGI reserves:
/// its first 19 binary digits, and how many more there are. What is longer than 35 years is cut to that.
pub(crate) fn queue_time_to_wire(micros: u64) -> [u8; 3] {
    let left_out = (u64::BITS - micros.leading_zeros()).saturating_sub(QUEUE_TIME_DIGITS).min(31);
    let digits = (micros >> left_out).min((1 << QUEUE_TIME_DIGITS) - 1) as u32;
    let [_, high, middle, low] = (left_out << QUEUE_TIME_DIGITS | digits).to_be_bytes();
    [high, middle, low]
}

/// What [`queue_time_to_wire`] has written.
pub(crate) fn queue_time_from_wire([high, middle, low]: [u8; 3]) -> u64 {
    let number = u32::from_be_bytes([0, high, middle, low]);
    let digits = u64::from(number & ((1 << QUEUE_TIME_DIGITS) - 1));
    digits << (number >> QUEUE_TIME_DIGITS)
}

/// The severity of a log line: an `APLOG_*` number, 0 (emergency) to 15 (`trace8`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogLevel(u8);

impl LogLevel {
    /// An error.
    pub const ERR: Self = Self(3);
    /// The last of Apache's eight trace levels.
    const TRACE8: u8 = 15;

    /// The level of that number, if Apache has it.
    pub const fn from_wire(number: u8) -> Option<Self> {
        if number <= Self::TRACE8 { Some(Self(number)) } else { None }
    }

    /// The number, as Apache's `ap_log_rerror` takes it.
    pub const fn number(self) -> u8 {
        self.0
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

/// An interim response, or what leads to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interim<'a> {
    /// The application asks for the body: 100, where the client waits for that.
    Continue,
    /// 103: values of `Link`, which end with a newline each. A receiver must check what is in them.
    EarlyHints(&'a [u8]),
}

impl<'a> Interim<'a> {
    /// The first byte of a record's content.
    pub(crate) const fn kind(self) -> u8 {
        match self {
            Self::Continue => b'C',
            Self::EarlyHints(_) => b'H',
        }
    }

    /// What follows it.
    pub(crate) const fn rest(self) -> &'a [u8] {
        match self {
            Self::Continue => &[],
            Self::EarlyHints(links) => links,
        }
    }

    /// Reads the content of a record.
    pub(crate) fn parse(content: &'a [u8]) -> Option<Self> {
        match content {
            [b'C'] => Some(Self::Continue),
            [b'H', links @ ..] => Some(Self::EarlyHints(links)),
            _ => None,
        }
    }

    /// The values of `Link`.
    pub fn links(self) -> impl Iterator<Item = &'a [u8]> {
        self.rest().split(|byte| *byte == b'\n').filter(|link| !link.is_empty())
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

    #[test]
    fn a_script_that_is_not_loaded_is_no_http_status() {
        use app_status::NotLoaded;
        for (status, script) in [(403, 0), (500, 63), (404, 255)] {
            let failed = NotLoaded { status, script };
            assert_eq!(NotLoaded::from_wire(failed.to_wire()), Some(failed));
            assert!(u16::try_from(failed.to_wire()).is_err());
        }
        for number in [0, app_status::OUTDATED, 500, 1 << 31, 1 << 31 | 200, 0xc000_01f4, u32::MAX]
        {
            assert_eq!(NotLoaded::from_wire(number), None);
        }
    }

    #[test]
    fn a_status_alone_has_its_cause_beside_it() {
        use app_status::{Cause, NotLoaded, StatusOnly};
        for cause in [Cause::Application, Cause::QueueTimeout, Cause::RequestBody] {
            let only = StatusOnly { status: 504, cause };
            assert_eq!(StatusOnly::from_wire(only.to_wire()), Some(only));
            assert_eq!(NotLoaded::from_wire(only.to_wire()), None);
        }
        let unknown = StatusOnly { status: 500, cause: Cause::Application };
        assert_eq!(StatusOnly::from_wire(0x00ff_01f4), Some(unknown));
        for number in [0, app_status::SHORT, app_status::OUTDATED, 399, 600, 0x8000_01f4, u32::MAX]
        {
            assert_eq!(StatusOnly::from_wire(number), None);
        }
    }

    #[test]
    fn the_time_in_the_queue_is_exact_up_to_half_a_second_and_keeps_its_order_of_magnitude() {
        for micros in [0, 1, 524_287, 524_288, 3_000_000, 86_400_000_000] {
            let known = queue_time_from_wire(queue_time_to_wire(micros));
            assert!(known <= micros && micros - known <= micros >> 18, "{micros}: {known}");
        }
        assert_eq!(queue_time_from_wire(queue_time_to_wire(524_287)), 524_287);
        assert!(queue_time_from_wire(queue_time_to_wire(u64::MAX)) > 1 << 49);
        queue_time_from_wire([0xff; 3]);
    }

    #[test]
    fn interim_response_is_one_of_two_and_hints_are_lines() {
        let hints = Interim::parse(b"H</a.css>; rel=preload\n\n</b.js>\n").unwrap();
        let links: Vec<_> = hints.links().collect();
        assert_eq!(links, [&b"</a.css>; rel=preload"[..], b"</b.js>"]);
        assert_eq!(Interim::parse(b"C"), Some(Interim::Continue));
        assert_eq!(Interim::Continue.links().count(), 0);
        for content in [&b""[..], b"Cx", b"X", b"101"] {
            assert_eq!(Interim::parse(content), None);
        }
    }

    #[test]
    fn only_the_numbers_of_apaches_levels_are_levels() {
        assert_eq!(LogLevel::from_wire(3), Some(LogLevel::ERR));
        assert_eq!(LogLevel::from_wire(15).map(LogLevel::number), Some(15));
        assert_eq!(LogLevel::from_wire(16), None);
    }
}
