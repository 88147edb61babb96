//! Where panics are told: in the error log, with their place.

use super::log::log_process;
use wsgi::Level;

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
