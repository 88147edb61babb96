//! Why a request has failed, or has been sent to a second worker: the codes of `WSGI_FLAGS`. It must never know a request.
#![forbid(unsafe_code)]

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
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

impl Flag {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 23] = [
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
    pub const fn code(self) -> &'static str {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_flag_has_a_code_and_a_number_of_its_own() {
        let codes: HashSet<_> = Flag::ALL.iter().map(|flag| flag.code()).collect();
        let bits = Flag::ALL.iter().fold(0_u32, |bits, flag| bits | 1 << *flag as u32);
        assert_eq!((codes.len(), bits.count_ones()), (23, 23));
        assert!(codes.iter().all(|code| code.len() == 2));
    }
}
