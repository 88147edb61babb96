//! Which application a request is for: the handler's answer, before either mode serves it.
#![forbid(unsafe_code)]

use std::borrow::Cow;

/// Which application.
pub(crate) struct Application<'a> {
    /// The script's path, and when it was modified, if that can be seen.
    pub(crate) script: &'a [u8],
    pub(crate) modified: Option<i64>,
    pub(crate) application_group: Cow<'a, [u8]>,
    pub(crate) callable: Cow<'a, [u8]>,
    /// It is the only one of its process, and runs in the main interpreter (design decision D5).
    pub(crate) adopted: bool,
}
