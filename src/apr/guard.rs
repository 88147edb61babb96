//! The one guard between C and Rust: a panic becomes the callback's own kind of failure.

use std::panic::AssertUnwindSafe;

/// Runs one callback. A panic must not unwind into C, where it would abort the child with every request
/// in it (design.md section 5); it becomes `failure` instead, and the panic hook (`httpd::panic_hook`)
/// logs message and place.
pub(crate) fn guard<T>(failure: T, body: impl FnOnce() -> T) -> T {
    #[allow(clippy::disallowed_methods, reason = "the one guard under Apache")]
    std::panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_panic_becomes_the_failure_value() {
        assert_eq!(guard(500, || 200), 200);
        assert_eq!(guard(500, || panic!("on purpose")), 500);
    }
}
