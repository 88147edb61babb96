//! How long a thread waits for interpreters' locks, where somebody wants to know it.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    /// `None`: nobody wants to know.
    static WAITED: Cell<Option<Waited>> = const { Cell::new(None) };
}

/// How often, and for how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    pub(crate) count: u32,
    pub(crate) time: Duration,
}

/// Measures the calling thread's waits until it is dropped; then those it interrupted go on.
pub(crate) struct Waiting(Option<Waited>);

impl Waiting {
    pub(crate) fn measure() -> Self {
        Self(WAITED.replace(Some(Waited::default())))
    }

    /// What has been measured since [`Waiting::measure`].
    pub(crate) fn so_far(&self) -> Waited {
        WAITED.get().unwrap_or_default()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITED.set(self.0);
    }
}

/// Runs what waits for a lock.
pub(super) fn timed(wait: impl FnOnce()) {
    let Some(Waited { count, time }) = WAITED.get() else { return wait() };
    let start = Instant::now();
    wait();
    WAITED.set(Some(Waited { count: count + 1, time: time + start.elapsed() }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_that_is_asked_to_measures_its_waits() {
        timed(|| {});
        let outer = Waiting::measure();
        timed(|| {});
        let inner = Waiting::measure();
        assert_eq!(inner.so_far().count, 0);
        drop(inner);
        timed(|| std::thread::sleep(Duration::from_millis(1)));
        assert_eq!(outer.so_far().count, 2);
        assert!(outer.so_far().time >= Duration::from_millis(1));
        drop(outer);
        assert_eq!(WAITED.get(), None);
    }
}
