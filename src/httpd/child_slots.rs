//! The places that the multi-processing module has for child processes, as the parent sees them, and how the parent is
//! brought to fill those that are free without its usual second in between. Why that is wanted is not known here.

use super::Mpm;
use crate::apr::Pool;
use crate::bindings::{
    SERVER_READY, ap_exists_scoreboard_image, ap_get_scoreboard_global, ap_get_scoreboard_process,
    ap_get_scoreboard_worker_from_indexes,
};
use std::ffi::c_int;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

/// The slots in which the parent may start children.
pub(crate) struct ChildSlots {
    /// The children that have one: those that live, and those that have exited and that the parent has not waited for.
    pub(crate) children: Vec<u32>,
    /// Slots without a child.
    pub(crate) free: usize,
}

impl ChildSlots {
    /// In the parent; `None` at its start, before there is a scoreboard.
    pub(crate) fn read() -> Option<Self> {
        let limit = limit()?;
        let mut slots = Self { children: Vec::new(), free: 0 };
        for index in 0..limit {
            match slot(index).map(|(pid, _)| pid) {
                Some(0) => slots.free += 1,
                Some(pid) => slots.children.extend(u32::try_from(pid)),
                None => {}
            }
        }
        Some(slots)
    }
}

/// The number of slots in which the multi-processing module starts children.
fn limit() -> Option<c_int> {
    // SAFETY: without an image there is no global record; with one that lives until the process ends.
    let server_limit = unsafe {
        if ap_exists_scoreboard_image() == 0 {
            return None;
        }
        ap_get_scoreboard_global().as_ref()?.server_limit
    };
    let mpm = Mpm::query();
    // event has slots beyond MaxRequestWorkers, for children that leave.
    let most = if mpm.name == "event" { server_limit.into() } else { mpm.processes };
    Some(server_limit.min(c_int::try_from(most).unwrap_or(c_int::MAX)))
}

/// Process id and generation of a slot.
fn slot(index: c_int) -> Option<(c_int, c_int)> {
    // SAFETY: httpd gives null for an index beyond its limit, else a record of shared memory that lives as long as the
    // process, of which two numbers are copied.
    unsafe {
        let raw = ap_get_scoreboard_process(index);
        (!raw.is_null()).then(|| {
            let pid = (&raw const (*raw).pid).read_volatile();
            (pid, (&raw const (*raw).generation).read_volatile())
        })
    }
}

/// How often the parent's sleep is interrupted at most, and how long it sleeps in between.
const TIMES: u32 = 500;
const EVERY: Duration = Duration::from_millis(4);
/// After so many interruptions without another child the parent has started all that it wants.
const ENOUGH: u32 = 10;

/// For the signal handler: slots that are looked at; how many children there were; new ones and slots for more at the last
/// look, and looks since there were as many.
static LIMIT: AtomicI32 = AtomicI32::new(0);
static OLD: AtomicU32 = AtomicU32::new(0);
/// Whether the parent is left alone where there is no free slot.
static IS_EVENT: AtomicBool = AtomicBool::new(false);
/// Whether each client needs a child.
static IS_PREFORK: AtomicBool = AtomicBool::new(false);
/// Threads of a child.
static THREADS: AtomicI32 = AtomicI32::new(0);
/// With more idle threads the parent would end a child each time that it looks.
static MOST_IDLE: AtomicU32 = AtomicU32::new(0);
static NEW: AtomicU32 = AtomicU32::new(0);
static FREE: AtomicU32 = AtomicU32::new(0);
static UNCHANGED: AtomicU32 = AtomicU32::new(0);

/// Stops the timer when it is dropped.
struct TimerGuard;

impl Drop for TimerGuard {
    fn drop(&mut self) {
        sys::stop_interruptions();
    }
}

/// Has the parent start the children of a new configuration, `old` ones at most, in free slots as soon as it looks after
/// its children, and not only after the second of sleep for which it waits, each time, for a child of the configuration
/// before to exit. `process` is the pool of the parent itself, which has the scoreboard.
///
/// # Errors
/// Where the timer that interrupts this sleep cannot be had.
pub(crate) fn fill_slots_at_once(process: Pool<'_>, old: usize) -> io::Result<()> {
    let Some(limit) = limit() else { return Ok(()) };
    static GUARD: Once = Once::new();
    GUARD.call_once(|| {
        // A parent that ends while it looks frees the scoreboard, and the process goes on for a moment.
        process.adopt_above_others(TimerGuard);
    });
    LIMIT.store(limit, Ordering::SeqCst);
    OLD.store(u32::try_from(old).unwrap_or(u32::MAX), Ordering::SeqCst);
    let mpm = Mpm::query();
    IS_EVENT.store(mpm.name == "event", Ordering::SeqCst);
    IS_PREFORK.store(mpm.name == "prefork", Ordering::SeqCst);
    THREADS.store(c_int::try_from(mpm.threads).unwrap_or(c_int::MAX), Ordering::SeqCst);
    MOST_IDLE.store(u32::try_from(mpm.most_idle_threads()).unwrap_or(u32::MAX), Ordering::SeqCst);
    NEW.store(0, Ordering::SeqCst);
    FREE.store(0, Ordering::SeqCst);
    UNCHANGED.store(0, Ordering::SeqCst);
    // SAFETY: the function reads shared memory and atomics only, while there is that memory (`TimerGuard`), and asks
    // waitid(2), which is async-signal-safe; httpd's functions that give the place of a record compute it.
    unsafe { sys::interrupt_until(are_filled, EVERY, TIMES) }
}

/// Whether the parent has nothing to start any more. Async-signal-safe.
fn are_filled() -> bool {
    // SAFETY: the image exists (`limit`), and httpd frees it when the pool of the process is destroyed, after the timer
    // has been stopped (`TimerGuard`).
    let Some(global) = (unsafe { ap_get_scoreboard_global().as_ref() }) else { return true };
    let threads = THREADS.load(Ordering::SeqCst).min(global.thread_limit);
    let (mut new, mut free, mut idle, mut is_idle) = (0_u32, 0_u32, 0_u32, false);
    for index in 0..LIMIT.load(Ordering::SeqCst) {
        match slot(index) {
            Some((0, _)) => free += 1,
            Some((_, generation)) if generation == global.running_generation => {
                new += 1;
                for status in (0..threads).filter_map(|thread| status(index, thread)) {
                    // httpd takes a thread that starts for an idle one, too.
                    idle += u32::from(status <= SERVER_READY);
                    is_idle |= status == SERVER_READY;
                }
            }
            // The parent finds it when it looks after its children.
            Some((pid, _)) if u32::try_from(pid).is_ok_and(sys::has_exited) => free += 1,
            _ => {}
        }
    }
    let is_changed = NEW.swap(new, Ordering::SeqCst) != new;
    if FREE.swap(free, Ordering::SeqCst) != free || is_changed {
        UNCHANGED.store(0, Ordering::SeqCst);
    }
    let unchanged = UNCHANGED.fetch_add(1, Ordering::SeqCst);
    // As many as before are enough, and so are fewer if not all of them have requests. Under prefork the clients of old
    // children need new ones when these have left.
    let old = OLD.load(Ordering::SeqCst);
    let may_suffice = !IS_PREFORK.load(Ordering::SeqCst) || new + free >= old;
    let are_enough = new >= old || is_idle && unchanged >= ENOUGH && may_suffice;
    // What the parent does once a second it does at each interruption: it would end one child after the other.
    let are_too_many = idle > MOST_IDLE.load(Ordering::SeqCst);
    // event says in the log that its scoreboard is full, each time that it looks; the others do once.
    let is_full = free == 0 && IS_EVENT.load(Ordering::SeqCst);
    new > 0 && (is_full || are_enough || are_too_many)
}

/// What a thread does: one of httpd's `SERVER_…`.
fn status(index: c_int, thread: c_int) -> Option<u32> {
    // SAFETY: httpd gives null for an index beyond its limits, else a record of shared memory that lives as long as the
    // process, of which one byte is copied.
    unsafe {
        let raw = ap_get_scoreboard_worker_from_indexes(index, thread);
        (!raw.is_null()).then(|| u32::from((&raw const (*raw).status).read_volatile()))
    }
}
