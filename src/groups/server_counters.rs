//! What Apache's parent and children share about the server: the requests of embedded mode, when it was started, and the
//! configuration that it has. It must never know a request.
#![forbid(unsafe_code)]

use super::request_counters::RequestCounters;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use sys::SharedWords;

/// Made once by the parent; its children inherit it, also those after a restart.
pub(crate) struct ServerCounters {
    /// Requests that Apache's children have served or refused themselves.
    pub(crate) embedded: RequestCounters,
    /// When the parent made it, in microseconds of [`scoreboard::now`].
    pub(crate) since: u64,
    /// How often the parent has read the configuration, and when it last did, in microseconds since the epoch.
    configuration: SharedWords,
}

/// The configuration that the server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// 1 after the start, and one more after each restart.
    pub(crate) generation: u64,
    /// When it was read, in microseconds since the epoch.
    pub(crate) loaded: u64,
}

static COUNTERS: OnceLock<ServerCounters> = OnceLock::new();

impl ServerCounters {
    /// Makes the memory, in the parent, where there is none yet.
    ///
    /// # Errors
    /// That of mmap(2).
    pub(crate) fn prepare() -> io::Result<()> {
        if COUNTERS.get().is_none() {
            let embedded = RequestCounters::new()?;
            let (since, configuration) = (scoreboard::now(), SharedWords::new(2)?);
            let counters = Self { embedded, since, configuration };
            // The parent has one thread.
            let _ = COUNTERS.set(counters);
        }
        Ok(())
    }

    /// The parent has read the configuration.
    pub(crate) fn note_configuration(&self) {
        if let Some((generation, rest)) = self.configuration.split_first() {
            generation.fetch_add(1, Ordering::Relaxed);
            let now = u64::try_from(wsgi::epoch_micros()).unwrap_or(0);
            rest.iter().for_each(|loaded| loaded.store(now, Ordering::Relaxed));
        }
    }

    /// The configuration that was read last.
    pub(crate) fn configuration(&self) -> Configuration {
        let get =
            |index: usize| self.configuration.get(index).map_or(0, |it| it.load(Ordering::Relaxed));
        Configuration { generation: get(0), loaded: get(1) }
    }

    /// The memory; `None` in a process whose parent had none.
    pub(crate) fn get() -> Option<&'static Self> {
        COUNTERS.get()
    }
}
