//! Why a request has failed, or has been sent to a second worker: the codes of `WSGI_FLAGS`. It must never know what
//! becomes of the request.
//!
//! The flags of the request that a thread serves are kept with the thread, so that a request without any costs one
//! store and one load.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// The configuration does not permit the request.
    Configuration,
    /// The request itself is refused.
    Request,
    /// The request body cannot be read, or be kept.
    RequestBody,
    /// The client has left.
    ClientLeft,
    /// No connection to a worker within `connect-timeout`.
    QueueFull,
    /// There is no connection to a worker for another reason.
    Connection,
    /// The worker has reached its limit of connections.
    Overloaded,
    /// The request waited longer than `queue-timeout`.
    QueueTimeout,
    /// No worker was ready within `socket-timeout`.
    NotReady,
    /// Python, or the process group, does not start.
    StartFailed,
    /// The script cannot be loaded.
    LoadFailed,
    /// The worker has exited.
    Crashed,
    /// The kernel has killed the worker for want of memory, as far as is known.
    OutOfMemory,
    /// The worker neither sent nor took anything for `socket-timeout`.
    SocketTimeout,
    /// The request took longer than a limit on its time.
    RequestTimeout,
    /// The worker stops.
    Stopping,
    /// An exception before the head of the response.
    Exception,
    /// The response was cut after its head.
    Cut,
    /// The head of the response exceeds a limit.
    HeadTooLong,
    /// The response breaks the rules of the protocol.
    Malformed,
    /// An output filter of Apache has failed.
    Filter,
    /// A worker with older code has given the request back.
    Outdated,
    /// The request was sent to another worker.
    Retried,
}

/// Any number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u32);

thread_local! {
    static CURRENT: Cell<u32> = const { Cell::new(0) };
}

impl Flag {
    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Self; 23] = [
        Self::Outdated,
        Self::Retried,
        Self::Configuration,
        Self::Request,
        Self::RequestBody,
        Self::ClientLeft,
        Self::QueueFull,
        Self::Connection,
        Self::Overloaded,
        Self::QueueTimeout,
        Self::NotReady,
        Self::StartFailed,
        Self::LoadFailed,
        Self::Crashed,
        Self::OutOfMemory,
        Self::SocketTimeout,
        Self::RequestTimeout,
        Self::Stopping,
        Self::Exception,
        Self::Cut,
        Self::HeadTooLong,
        Self::Malformed,
        Self::Filter,
    ];

    /// The code.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Configuration => "CE",
            Self::Request => "RQ",
            Self::RequestBody => "RB",
            Self::ClientLeft => "CL",
            Self::QueueFull => "QF",
            Self::Connection => "CF",
            Self::Overloaded => "OL",
            Self::QueueTimeout => "QT",
            Self::NotReady => "NR",
            Self::StartFailed => "SF",
            Self::LoadFailed => "LF",
            Self::Crashed => "CR",
            Self::OutOfMemory => "OM",
            Self::SocketTimeout => "ST",
            Self::RequestTimeout => "RT",
            Self::Stopping => "WS",
            Self::Exception => "XH",
            Self::Cut => "XB",
            Self::HeadTooLong => "HL",
            Self::Malformed => "MR",
            Self::Filter => "FF",
            Self::Outdated => "RC",
            Self::Retried => "RY",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Adds it to those of the request that the calling thread serves.
    pub(crate) fn note(self) {
        CURRENT.set(CURRENT.get() | self.bit());
    }
}

impl Flags {
    /// The calling thread begins a request: those of the request in which it is, if it is in one. They are to be given
    /// back to [`Flags::end`].
    pub(crate) fn begin() -> Self {
        Self(CURRENT.replace(0))
    }

    /// The calling thread has served its request: its flags. `outer` is what [`Flags::begin`] has given.
    pub(crate) fn end(outer: Self) -> Self {
        Self(CURRENT.replace(outer.0))
    }

    /// Those of the request that the calling thread serves, so far.
    pub(crate) fn so_far() -> Self {
        Self(CURRENT.get())
    }

    /// The calling thread goes on with a request that had these before; as [`Flags::begin`].
    pub(crate) fn resume(self) -> Self {
        Self(CURRENT.replace(self.0))
    }

    /// Those whose bits are set; bits that are none are left out.
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Each as a bit, by its number.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Whether the request has failed, and was not only sent again.
    pub(crate) const fn are_of_a_failure(self) -> bool {
        self.0 & !(Flag::Outdated.bit() | Flag::Retried.bit()) != 0
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`Flag::ALL`].
    pub(crate) fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.0 & flag.bit() != 0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, flag) in self.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(f, "{separator}{}", flag.code())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_flag_has_a_code_and_a_bit_of_its_own() {
        let codes: HashSet<_> = Flag::ALL.iter().map(|flag| flag.code()).collect();
        let bits = Flag::ALL.iter().fold(0, |bits, flag| bits | flag.bit());
        assert_eq!((codes.len(), bits.count_ones()), (23, 23));
        assert!(codes.iter().all(|code| code.len() == 2));
    }

    #[test]
    fn a_request_inside_of_another_has_flags_of_its_own() {
        let outside = Flags::begin();
        Flag::Retried.note();
        let outer = Flags::begin();
        Flag::Crashed.note();
        Flag::Retried.note();
        assert_eq!(Flags::end(outer).to_string(), "RY,CR");
        let flags = Flags::end(outside);
        assert_eq!((flags.to_string(), flags.is_empty()), ("RY".to_owned(), false));
        assert!(Flags::end(Flags::begin()).is_empty());
        // Another thread goes on with a request.
        let outer = flags.resume();
        Flag::Cut.note();
        assert_eq!(Flags::so_far().to_string(), "RY,XB");
        assert_eq!(Flags::end(outer).to_string(), "RY,XB");
    }
}
