//! The numbers of the threads of a process (`mod_wsgi.thread_id`).
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

thread_local! {
    static THREAD_ID: Cell<Option<i64>> = const { Cell::new(None) };
}

static NEXT_THREAD_ID: AtomicI64 = AtomicI64::new(0);

/// The number of the calling thread, in the order of first calls; the thread that started Python is 0.
pub(crate) fn thread_id() -> i64 {
    THREAD_ID.with(|id| match id.get() {
        Some(id) => id,
        None => {
            let new = NEXT_THREAD_ID.fetch_add(1, Ordering::Relaxed);
            id.set(Some(new));
            new
        }
    })
}
