//! Why a response is not relayed to its end. It must never know what the response says.
#![forbid(unsafe_code)]

use super::connection_error::ConnectionError;
use crate::httpd::PassError;
use fastcgi::head::HeadError;
use std::fmt::Display;

/// Why relaying stops before the end of the response.
pub(super) enum RelayError {
    /// The client is gone, or an output filter has failed.
    Client(PassError),
    /// The connection to the worker is of no more use.
    Worker(ConnectionError),
    /// No worker has read the request for a while.
    Unread,
    /// The worker is silent, and this thread is not needed for what it may send.
    Silent,
}

impl From<PassError> for RelayError {
    fn from(why: PassError) -> Self {
        Self::Client(why)
    }
}

impl From<ConnectionError> for RelayError {
    fn from(why: ConnectionError) -> Self {
        Self::Worker(why)
    }
}

/// What is wrong with a head.
pub(super) fn head_error(why: &HeadError) -> ConnectionError {
    match why {
        HeadError::TooLarge { .. }
        | HeadError::TooManyFields { .. }
        | HeadError::LineTooLong { .. } => ConnectionError::HeadTooLong(why.to_string()),
        _ => malformed(why),
    }
}

/// What is wrong with a response.
pub(super) fn malformed(what: &(impl Display + ?Sized)) -> ConnectionError {
    ConnectionError::Malformed(what.to_string())
}
