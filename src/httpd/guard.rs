//! The one guard between httpd and Rust: a panic becomes the callback's own kind of failure.

use super::log::log_process;
use std::panic::AssertUnwindSafe;
use wsgi::Level;

/// Runs one callback. A panic must not unwind into C, where it would abort the child with every request
/// in it (design.md section 5); it becomes `failure` instead, and the panic hook logs message and place.
pub(crate) fn guard<T>(failure: T, body: impl FnOnce() -> T) -> T {
    #[allow(clippy::disallowed_methods, reason = "the one guard under Apache")]
    std::panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

/// Sends panics of any thread to the error log, with their place in the source. Called at each load of
/// the module; the hook is the same every time.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let line = format!("internal error in mod_wsgi_rs: {message} at {place}");
        log_process(Level::Critical, line.as_bytes());
    }));
}
