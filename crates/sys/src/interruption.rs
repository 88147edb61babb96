//! A timer that ends the sleep of the thread that set it: a system call such as select(2) or nanosleep(2) returns when
//! a handler has run, whatever time was left. This file must never know who sleeps, and why.
#![allow(unsafe_code, reason = "a signal handler and the timer that sends its signal")]

use crate::descriptors::check;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

/// The timer, as timer_create(2) named it.
static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
/// The process that has made it: a copy of that process has none.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// How many interruptions are left.
static LEFT: AtomicU32 = AtomicU32::new(0);
/// Whether they are of no use any more: a `fn() -> bool`.
static IS_OVER: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// A real-time signal: SIGALRM may be another module's.
fn number() -> libc::c_int {
    libc::SIGRTMAX() - 2
}

extern "C" fn on_tick(_: libc::c_int) {
    // SAFETY: errno is this thread's own, and is put back. timer_settime is async-signal-safe, and its timer belongs to
    // this process, which sets `IS_OVER` before it sets the timer: a pointer to a function of this program that is
    // async-signal-safe (`interrupt_until`).
    unsafe {
        let errno = *libc::__errno_location();
        let is_over = IS_OVER.load(Ordering::SeqCst);
        let is_last = LEFT.fetch_sub(1, Ordering::SeqCst) <= 1;
        if is_last || std::mem::transmute::<*mut (), fn() -> bool>(is_over)() {
            let never = MaybeUninit::<libc::itimerspec>::zeroed().assume_init();
            let timer = TIMER.load(Ordering::SeqCst);
            libc::timer_settime(timer, 0, &raw const never, ptr::null_mut());
        }
        *libc::__errno_location() = errno;
    }
}

/// Interrupts what the calling thread sleeps in: `times` times at most, `every` so often, until `is_over` says that
/// no more of it is needed.
///
/// # Safety
/// `is_over` is called by a signal handler: it makes async-signal-safe calls only, and neither allocates nor locks.
///
/// # Errors
/// Where other code of this process has a handler for the signal, and where there is no timer.
pub unsafe fn interrupt_until(
    is_over: fn() -> bool,
    every: Duration,
    times: u32,
) -> io::Result<()> {
    let mine = on_tick as extern "C" fn(libc::c_int) as libc::sighandler_t;
    let tick = libc::timespec {
        tv_sec: i64::try_from(every.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(every.subsec_nanos()),
    };
    // SAFETY: all zeros is a valid sigaction and a valid sigevent, both are completed before they are used, and every
    // structure is on this stack during the calls. The handler keeps to async-signal-safe calls, by the contract of
    // this function as well.
    unsafe {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        check(libc::sigaction(number(), ptr::null(), &raw mut before))?;
        if before.sa_sigaction != mine && before.sa_sigaction != libc::SIG_DFL {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        IS_OVER.store(is_over as *mut (), Ordering::SeqCst);
        LEFT.store(times, Ordering::SeqCst);
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = mine;
        action.sa_flags = libc::SA_RESTART;
        check(libc::sigaction(number(), &raw const action, ptr::null_mut()))?;
        let process = libc::getpid();
        if OWNER.load(Ordering::SeqCst) != process {
            let mut event = MaybeUninit::<libc::sigevent>::zeroed().assume_init();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = number();
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = ptr::null_mut();
            check(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer))?;
            TIMER.store(timer, Ordering::SeqCst);
            OWNER.store(process, Ordering::SeqCst);
        }
        let times = libc::itimerspec { it_interval: tick, it_value: tick };
        let timer = TIMER.load(Ordering::SeqCst);
        check(libc::timer_settime(timer, 0, &raw const times, ptr::null_mut()))?;
    }
    Ok(())
}

/// Interrupts no more: `is_over` is not called again once this has returned. To be called by the thread that has called
/// [`interrupt_until`], if any has.
pub fn stop_interruptions() {
    // SAFETY: a number is returned. The timer is this process's own, by its number, and all zeros is a time that stops
    // it; an interruption that is under way comes to this thread, at the latest at the end of this call.
    unsafe {
        if OWNER.load(Ordering::SeqCst) == libc::getpid() {
            let never = MaybeUninit::<libc::itimerspec>::zeroed().assume_init();
            let timer = TIMER.load(Ordering::SeqCst);
            libc::timer_settime(timer, 0, &raw const never, ptr::null_mut());
        }
    }
}

/// In a copy of a process that interrupts itself, which has no timer: the signal does again what it does by default.
pub fn forget_interruptions() {
    let mine = on_tick as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: all zeros is a valid sigaction, which sigaction then writes; SIG_DFL is valid for this signal.
    unsafe {
        let mut now = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        if libc::sigaction(number(), ptr::null(), &raw mut now) == 0 && now.sa_sigaction == mine {
            libc::signal(number(), libc::SIG_DFL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// select(2) with a timeout, which is how APR sleeps; whether it has been interrupted.
    fn sleep(time: Duration) -> bool {
        let mut time = libc::timeval {
            tv_sec: i64::try_from(time.as_secs()).unwrap(),
            tv_usec: i64::from(time.subsec_micros()),
        };
        let null = ptr::null_mut;
        // SAFETY: no set of descriptors is passed, and the time is on this stack.
        unsafe { libc::select(0, null(), null(), null(), &raw mut time) == -1 }
    }

    #[test]
    fn a_sleep_is_interrupted_until_that_is_over_or_stopped() {
        static SEEN: AtomicU32 = AtomicU32::new(0);
        let is_over: fn() -> bool = || SEEN.fetch_add(1, Ordering::SeqCst) >= 1;
        // In a thread of its own: whose sleep is interrupted is the thread that has asked for it.
        let asked = std::thread::spawn(move || {
            let began = Instant::now();
            // SAFETY: the function above only uses an atomic.
            unsafe { interrupt_until(is_over, Duration::from_millis(5), 100) }.unwrap();
            let interrupted = (sleep(Duration::from_secs(20)), sleep(Duration::from_secs(20)));
            let first = (
                interrupted,
                began.elapsed() < Duration::from_secs(20),
                sleep(Duration::from_millis(50)),
                SEEN.load(Ordering::SeqCst),
            );
            let never_over: fn() -> bool = || {
                SEEN.fetch_add(1, Ordering::SeqCst);
                false
            };
            // SAFETY: this function only uses the atomic, too.
            unsafe { interrupt_until(never_over, Duration::from_millis(5), 1000) }.unwrap();
            let interrupted = sleep(Duration::from_secs(20));
            stop_interruptions();
            let seen = SEEN.load(Ordering::SeqCst);
            let later = sleep(Duration::from_millis(50));
            (first, (interrupted, later, SEEN.load(Ordering::SeqCst) - seen))
        });
        let (first, stopped) = asked.join().unwrap();
        assert_eq!(first, ((true, true), true, false, 2));
        assert_eq!(stopped, (true, false, 0));
        forget_interruptions();
    }
}
