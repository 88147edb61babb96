//! What a worker answers that gives a request back. It must never know what becomes of the request.
#![forbid(unsafe_code)]

use fastcgi::app_status::NotLoaded;

/// Why a worker has done nothing for a request.
#[derive(Clone, Copy)]
pub(super) enum GivenBack {
    /// Its code is old, and it is going to be replaced.
    Outdated,
    /// It cannot load the script, and another worker has it.
    NotLoaded(NotLoaded),
}
