//! Where the oldest request of this worker is in its application, for readers of the scoreboard. The main thread writes it,
//! which never enters Python and hardly waits: once the request is older than a second, and anew each second while it lasts.
//! Requests themselves do nothing for this.
//!
//! A request of an event loop is in no thread while it waits, so a thread asks Python where its task is. Where Python has not
//! answered until the next look, the event loop is held up: then the stack of its thread tells by what.
#![forbid(unsafe_code)]

use crate::worker::pool::Pool;
use scoreboard::{Field, RequestStack, StackSlot, now};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;
use sys::OwnMemory;
use wsgi::Level;

/// How often requests are looked at, and how old one is whose stack is written.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// How often they are looked at where there has been no request for [`QUIET`].
const QUIET_INTERVAL: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(60);
/// How long the main thread waits for Python, once a second at most. What is answered later is written at the next look.
const ANSWER: Duration = Duration::from_millis(20);

/// What the main thread knows of it.
#[derive(Default)]
pub(super) struct OldestRequest {
    /// A stack is on the scoreboard.
    is_shown: bool,
    /// While one is.
    memory: Option<OwnMemory>,
    /// When requests were looked at last.
    last: u64,
    /// The log has been told that memory cannot be read.
    has_failed: bool,
    /// Python has been asked where the task of a request is.
    asked: Option<Asked>,
}

/// A question to Python.
struct Asked {
    place: usize,
    since: u64,
    /// When it was answered, and the text; `None` where the task is not found, or the event loop held up.
    answer: Receiver<(u64, Option<String>)>,
}

impl OldestRequest {
    /// How long to wait until the next [`Self::note`].
    pub(super) fn interval(pool: &Pool) -> Duration {
        let last = pool.record.get(Field::LastRequest).max(pool.record.get(Field::Started));
        let quiet = now().saturating_sub(last);
        let is_quiet = u128::from(quiet) > QUIET.as_micros() && !pool.record.is_busy();
        if is_quiet { QUIET_INTERVAL } else { INTERVAL }
    }

    /// Writes where the oldest request is, if that is old enough, and removes what is outdated. May be called more often
    /// than that is wanted.
    pub(super) fn note(&mut self, pool: &Arc<Pool>) {
        let now = now();
        if u128::from(now.saturating_sub(self.last)) < INTERVAL.as_micros() / 2 {
            return;
        }
        self.last = now;
        let threads = (0..pool.claims.len()).map(|thread| (thread, pool.record.since(thread)));
        let oldest = threads.filter(|(_, since)| *since != 0).min_by_key(|(_, since)| *since);
        let old = |since: u64| u128::from(now.saturating_sub(since)) >= INTERVAL.as_micros();
        let Some((thread, since)) = oldest.filter(|(_, since)| old(*since)) else {
            if std::mem::take(&mut self.is_shown) {
                self.memory = None;
                pool.record.stack().clear();
            }
            return;
        };
        let found = match pool.stacks.event_loop() {
            Some(event_loop) => self.task(pool, thread, since, event_loop),
            None => {
                let ident = pool.stacks.serving().get(thread).copied();
                ident.and_then(|ident| self.stack(pool, ident)).map(|text| (now, text))
            }
        };
        let Some((taken, text)) = found else { return };
        // What has been read is that of another request if the thread has begun one meanwhile.
        if pool.record.since(thread) == since {
            self.is_shown = true;
            pool.record.stack().put(&RequestStack { thread, since, taken, text });
        }
    }

    /// Where the task of the request in this place is, and when that was so.
    fn task(
        &mut self,
        pool: &Arc<Pool>,
        place: usize,
        since: u64,
        event_loop: u64,
    ) -> Option<(u64, String)> {
        let was_asked = self.asked.is_some();
        if !was_asked {
            self.asked = ask(pool, place, since);
        }
        let asked = self.asked.take()?;
        let answer = match asked.answer.try_recv() {
            Err(TryRecvError::Empty) => asked.answer.recv_timeout(ANSWER).ok(),
            answer => Some(answer.unwrap_or((0, None))),
        };
        match answer {
            // That about a request which has ended meanwhile.
            Some(_) if (asked.place, asked.since) != (place, since) => None,
            Some((taken, Some(text))) => Some((taken, text)),
            Some((_, None)) => Some((now(), self.stack(pool, event_loop)?)),
            None => {
                self.asked = Some(asked);
                // At first Python may just be busy.
                if was_asked { Some((now(), self.stack(pool, event_loop)?)) } else { None }
            }
        }
    }

    /// Where the thread of this number in Python is, as [`host::stack_text`] has it; `None` where that cannot be found out.
    fn stack(&mut self, pool: &Pool, ident: u64) -> Option<String> {
        if self.memory.is_none() {
            match OwnMemory::new() {
                Ok(memory) => self.memory = Some(memory),
                Err(why) => {
                    if !std::mem::replace(&mut self.has_failed, true) {
                        let line = format!("cannot read the stacks of slow requests: {why}");
                        pool.log.write(Level::Info, line.as_bytes());
                    }
                    return None;
                }
            }
        }
        let memory = self.memory.as_mut()?;
        let mut read = |address: usize, into: &mut [u8]| memory.read(address, into);
        let (frames, is_whole) = pool.host.live_stack(ident, &mut read).unwrap_or_default();
        Some(host::stack_text(&frames, is_whole, StackSlot::ROOM))
    }
}

/// Has Python asked where the task of a request is, by a thread that waits for the lock as long as that takes.
fn ask(pool: &Arc<Pool>, place: usize, since: u64) -> Option<Asked> {
    let (done, answer) = mpsc::channel();
    let own = Arc::clone(pool);
    let look = move || {
        // The script of a request that has no task yet is being loaded, on the thread of the event loop.
        let task = own.host.tasks(Some(place)).and_then(|tasks| tasks.into_iter().next());
        let place =
            task.map(|task| host::stack_text(&task.frames, task.left_out == 0, StackSlot::ROOM));
        // The receiver is gone where the request has ended.
        let _ = done.send((now(), place));
    };
    thread::Builder::new().name("wsgi-place".to_owned()).spawn(look).ok()?;
    Some(Asked { place, since, answer })
}
