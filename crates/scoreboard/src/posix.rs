//! The clock that all processes of the machine share. It must never know what its times are used for.
#![allow(unsafe_code, reason = "the one POSIX file of this crate")]

/// Microseconds since the machine started, without the time it was suspended (`CLOCK_MONOTONIC`). A clock
/// that is set, by hand or by NTP, moves no limit of a request or a process.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes one `timespec` to the pointer, which is that of a local variable that
    // outlives the call. It fails only for a clock that is unknown, and Linux always has this one.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000 + part(time.tv_nsec) / 1000
}
