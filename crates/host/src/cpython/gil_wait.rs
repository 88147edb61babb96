//! How long a thread waits for interpreters' locks, where that is measured.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    /// `None`: not measured.
    static WAITED: Cell<Option<GilWait>> = const { Cell::new(None) };
}

/// How often, and for how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GilWait {
    pub(crate) count: u32,
    pub(crate) time: Duration,
}

/// Measures the calling thread's waits until it is dropped; then the measurement before it goes on.
pub(crate) struct GilWaitTimer(Option<GilWait>);

impl GilWaitTimer {
    pub(crate) fn measure() -> Self {
        Self(WAITED.replace(Some(GilWait::default())))
    }

    /// What has been measured since [`GilWaitTimer::measure`].
    pub(crate) fn so_far(&self) -> GilWait {
        WAITED.get().unwrap_or_default()
    }
}

impl Drop for GilWaitTimer {
    fn drop(&mut self) {
        WAITED.set(self.0);
    }
}

/// Runs `wait`, which waits for a lock.
pub(super) fn timed(wait: impl FnOnce()) {
    let Some(GilWait { count, time }) = WAITED.get() else { return wait() };
    let start = Instant::now();
    wait();
    WAITED.set(Some(GilWait { count: count + 1, time: time + start.elapsed() }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_that_is_asked_to_measures_its_waits() {
        timed(|| {});
        let outer = GilWaitTimer::measure();
        timed(|| {});
        let inner = GilWaitTimer::measure();
        assert_eq!(inner.so_far().count, 0);
        drop(inner);
        timed(|| std::thread::sleep(Duration::from_millis(1)));
        assert_eq!(outer.so_far().count, 2);
        assert!(outer.so_far().time >= Duration::from_millis(1));
        drop(outer);
        assert_eq!(WAITED.get(), None);
    }
}
