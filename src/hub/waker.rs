//! How another thread has a session looked at again. It must never know the session.
#![forbid(unsafe_code)]

/// Names one link of the hub, to any thread and for any time: nothing happens where the link has gone meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Waker {
    token: u64,
    wake: fn(u64),
}

impl Waker {
    /// One for the link of `token`, which is told to `wake`.
    pub(super) const fn new(token: u64, wake: fn(u64)) -> Self {
        Self { token, wake }
    }

    /// Has the hub's thread advance the link soon.
    pub(crate) fn wake(self) {
        (self.wake)(self.token);
    }
}
