//! Where the oldest request of this process is in Python, for the status page: a thread writes that to the scoreboard, as the
//! main thread of a worker does. It takes no lock of Python's, and requests do nothing for it. There is no such thread where
//! the configuration has no status page.
#![forbid(unsafe_code)]

use super::own_record::OwnRecord;
use crate::httpd::ServerLogHandle;
use host::Host;
use scoreboard::{RequestStack, StackSlot, now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use sys::OwnMemory;
use wsgi::Level;

/// How often requests are looked at, and how old one is whose stack is written.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often they are looked at where there has been none for [`QUIET`].
const QUIET_INTERVAL: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(60);
const STACK_SIZE: usize = 256 << 10;

/// The configuration has a status page.
static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// Sets whether the configuration has a status page; before there are children.
pub(crate) fn set_status_page(is_there: bool) {
    IS_WANTED.store(is_there, Ordering::Relaxed);
}

/// The thread.
pub(super) struct StackWriter {
    /// Its drop ends the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// What the thread knows.
#[derive(Default)]
struct Written {
    /// A stack is on the scoreboard.
    is_shown: bool,
    /// While one is.
    memory: Option<OwnMemory>,
    /// The log has been told that memory cannot be read.
    has_failed: bool,
}

impl StackWriter {
    /// Starts the thread; `None` where it is not wanted, or cannot be had.
    pub(super) fn start(
        own: &Arc<OwnRecord>,
        host: &Arc<Host>,
        log: &Arc<ServerLogHandle>,
    ) -> Option<Self> {
        if !IS_WANTED.load(Ordering::Relaxed) {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let (own, host, log) = (Arc::clone(own), Arc::clone(host), Arc::clone(log));
        let write = move || {
            // A signal that arrived here would be none of httpd's.
            sys::block_signals();
            let mut written = Written::default();
            while stopped.recv_timeout(interval(&own)) == Err(RecvTimeoutError::Timeout) {
                written.renew(&own, &host, &log);
            }
        };
        let builder = thread::Builder::new().name("wsgi-oldest".to_owned());
        let thread = builder.stack_size(STACK_SIZE).spawn(write).ok()?;
        Some(Self { stop, thread })
    }

    /// Ends the thread, which waits for nothing else; before Python is ended.
    pub(super) fn stop(self) {
        drop(self.stop);
        // The panic hook has logged a panic of the thread.
        let _ = self.thread.join();
    }
}

fn interval(own: &OwnRecord) -> Duration {
    let is_quiet = own
        .quiet_since()
        .is_some_and(|then| u128::from(now().saturating_sub(then)) > QUIET.as_micros());
    if is_quiet { QUIET_INTERVAL } else { INTERVAL }
}

impl Written {
    /// Writes where the oldest request is, if that is old enough, and removes what is outdated.
    fn renew(&mut self, own: &OwnRecord, host: &Host, log: &ServerLogHandle) {
        let now = now();
        let is_old = |since: u64| u128::from(now.saturating_sub(since)) >= INTERVAL.as_micros();
        let Some((line, since, thread)) = own.oldest().filter(|(_, since, _)| is_old(*since))
        else {
            if std::mem::take(&mut self.is_shown) {
                self.memory = None;
                own.stack().clear();
            }
            return;
        };
        let Some(text) = self.stack(host, thread, log) else { return };
        // What has been read is that of another request if the line has one by now.
        if own.oldest().is_some_and(|oldest| oldest == (line, since, thread)) {
            self.is_shown = true;
            own.stack().put(&RequestStack { thread: line, since, taken: now, text });
        }
    }

    /// Where the thread of this number in Python is; `None` where that cannot be found out.
    fn stack(&mut self, host: &Host, ident: u64, log: &ServerLogHandle) -> Option<String> {
        if self.memory.is_none() {
            match OwnMemory::new() {
                Ok(memory) => self.memory = Some(memory),
                Err(why) => {
                    if !std::mem::replace(&mut self.has_failed, true) {
                        let line = format!("cannot read the stacks of slow requests: {why}");
                        log.log(Level::Info, line.as_bytes());
                    }
                    return None;
                }
            }
        }
        let memory = self.memory.as_mut()?;
        let mut read = |address: usize, into: &mut [u8]| memory.read(address, into);
        let (frames, is_whole) = host.live_stack(ident, &mut read).unwrap_or_default();
        Some(host::stack_text(&frames, is_whole, StackSlot::ROOM))
    }
}
