//! The processor time of a thread, for other threads of its process.
#![allow(unsafe_code, reason = "rustix has no clock of another thread")]

use std::io;
use std::time::Duration;

/// The clock of one thread: it goes on while the thread has a processor.
#[derive(Clone, Copy, Debug)]
pub struct ThreadClock(libc::clockid_t);

impl ThreadClock {
    /// The clock of the calling thread.
    pub fn of_this_thread() -> io::Result<Self> {
        let mut clock = 0;
        // SAFETY: pthread_self(3) has no contract. pthread_getcpuclockid(3) wants a thread that has not been joined,
        // which the calling one is until it returns, and writes to a local variable.
        let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        if error == 0 { Ok(Self(clock)) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// The processor time that the thread has used; an error where it has ended.
    pub fn used(self) -> io::Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: clock_gettime(2) takes any number for a clock, checks it, and writes to a local variable.
        if unsafe { libc::clock_gettime(self.0, &raw mut time) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let seconds = Duration::from_secs(time.tv_sec.try_into().unwrap_or(0));
        Ok(seconds + Duration::from_nanos(time.tv_nsec.try_into().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn clock_of_another_thread_goes_on_only_while_it_computes() {
        let (sender, clocks) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let blocked = thread::spawn(move || {
            sender.send(ThreadClock::of_this_thread().unwrap()).unwrap();
            let _ = stopped.recv();
        });
        let (own, other) = (ThreadClock::of_this_thread().unwrap(), clocks.recv().unwrap());
        let (before, start) = (other.used().unwrap(), own.used().unwrap());
        while own.used().unwrap() < start + Duration::from_millis(20) {}
        // What it still had to do before it blocked is far less.
        assert!(other.used().unwrap() < before + Duration::from_millis(10));
        drop(stop);
        blocked.join().unwrap();
    }
}
