//! Which application a request is for: the handler's answer, before either mode serves it.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use wsgi::FileVersion;

/// An application, as the handler has determined it for one request.
pub(crate) struct Application<'a> {
    /// The path of the script file.
    pub(crate) script: &'a [u8],
    /// The version of the file; `None` where it cannot be examined.
    pub(crate) modified: Option<FileVersion>,
    /// The interpreter; the empty name is the main one.
    pub(crate) application_group: Cow<'a, [u8]>,
    /// The name of the callable in the script.
    pub(crate) callable: Cow<'a, [u8]>,
    /// It is the only one of its process, and runs in the main interpreter (design decision D5).
    pub(crate) adopted: bool,
}
