//! The variables of a request, as a transport hands them to the gateway.
//!
//! Values are bytes. It must never know what a receiver makes of them (latin-1 text, a FastCGI param).

use crate::common_variables::CommonVariables;
use crate::key::Key;
use std::time::SystemTime;

/// Now, as [`Environ::time`] wants it.
pub fn epoch_micros() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Whether a variable is meant for the other end of a transport alone: no request can set one, and no
/// application gets one.
pub fn is_private_variable(name: &[u8]) -> bool {
    name.starts_with(b"mod_wsgi.x-")
}

/// Receives the variables of one request. A later value for a name replaces an earlier one. A header comes once, unless
/// the request has several of its name (`RequestHeader add`); a receiver that has room for one keeps the last.
pub trait Environ {
    /// Variables that many requests have in common. Called before all other methods, or not at all.
    fn common(&mut self, common: &CommonVariables) {
        for (key, value) in common.iter() {
            self.set(key, value);
        }
    }
    /// A variable whose name is known beforehand.
    fn set(&mut self, key: Key, value: &[u8]);
    /// A request header that becomes `HTTP_<NAME>` (RFC 3875 section 4.1.18); `name` is the
    /// header's name as the client sent it, already checked by [`crate::header_rule`].
    fn header(&mut self, name: &[u8], value: &[u8]);
    /// A variable of any other name (`SetEnv`, `mod_ssl`, `mod_rewrite` …).
    fn other(&mut self, name: &[u8], value: &[u8]);
    /// A time, in microseconds since the epoch; 0 means "does not apply".
    fn time(&mut self, key: Key, micros: i64);
}
