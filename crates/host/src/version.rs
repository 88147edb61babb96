//! The version of mod_wsgi whose behaviour this crate has.
#![forbid(unsafe_code)]

/// mod_wsgi's version, whose behaviour this module has: applications compare with it.
pub(crate) const COMPATIBLE_VERSION: (i64, i64, i64) = (6, 0, 5);
