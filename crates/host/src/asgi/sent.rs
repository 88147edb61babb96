//! What becomes of what is sent where nothing waits.
#![forbid(unsafe_code)]

/// What has become of a piece of a response, or of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it has been handed on.
    All,
    /// Some is kept; [`AsgiEvent::Ready`] will be reported.
    Kept,
}
