//! Which scripts a worker could not load, so that requests for them do not all try again where another worker has the
//! script. It loads none.
#![forbid(unsafe_code)]

use crate::message::Loaded;
use scoreboard::BackOff;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The scripts that a worker could not load.
#[derive(Default)]
pub(super) struct FailedLoads(Mutex<Vec<FailedLoad>>);

/// A script that could not be loaded.
struct FailedLoad {
    /// In the version of its file that was tried.
    script: Loaded,
    /// The HTTP status that tells why.
    status: u16,
    /// How often in a row that version was tried in vain.
    times: u32,
    /// When the next request is to try again: what the script needs may be there without a change of its file.
    next: Instant,
}

/// The pauses between two attempts to load one version of a script.
const BACK_OFF: BackOff =
    BackOff { free: 0, first: Duration::from_secs(1), longest: Duration::from_secs(30) };
/// The most scripts that are remembered.
const MAX_SCRIPTS: usize = 64;

impl FailedLoads {
    /// Why the script could not be loaded, as an HTTP status, where it is not to be tried again yet.
    pub(super) fn pending(&self, script: &Loaded, now: Instant) -> Option<u16> {
        let failed = self.failed();
        let it = failed.iter().find(|it| it.is(script))?;
        (now < it.next).then_some(it.status)
    }

    /// Notes that the script could not be loaded.
    pub(super) fn note(&self, script: &Loaded, status: u16, now: Instant) {
        let mut failed = self.failed();
        let times = 1 + failed.iter().find(|it| it.is(script)).map_or(0, |it| it.times);
        failed.retain(|it| !it.script.is_same_script(script));
        if failed.len() < MAX_SCRIPTS {
            let next = now + BACK_OFF.pause(times);
            failed.push(FailedLoad { script: script.clone(), status, times, next });
        }
    }

    /// Forgets what has been loaded.
    pub(super) fn forget(&self, script: &Loaded) {
        self.failed().retain(|it| !it.script.is_same_script(script));
    }

    fn failed(&self) -> MutexGuard<'_, Vec<FailedLoad>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailedLoad {
    fn is(&self, script: &Loaded) -> bool {
        self.script.is_same_script(script) && self.script.modified == script.modified
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgi::FileVersion;

    #[test]
    fn a_version_that_fails_is_tried_ever_more_seldom_and_another_one_at_once() {
        let script = |modified| Loaded {
            path: "/srv/app.wsgi".into(),
            application_group: String::new(),
            modified: Some(FileVersion { modified, size: 1, inode: 1 }),
            callable: None,
        };
        let failed = FailedLoads::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(failed.pending(&script(1), start), None);
        failed.note(&script(1), 500, start);
        assert_eq!(failed.pending(&script(1), start), Some(500));
        assert_eq!(failed.pending(&script(2), start), None);
        assert_eq!(failed.pending(&script(1), after(1)), None);
        failed.note(&script(1), 403, after(1));
        assert_eq!(failed.pending(&script(1), after(2)), Some(403));
        assert_eq!(failed.pending(&script(1), after(3)), None);
        // Another version is another cause.
        failed.note(&script(2), 500, after(3));
        assert_eq!(failed.pending(&script(1), after(3)), None);
        assert_eq!(failed.pending(&script(2), after(4)), None);
        failed.note(&script(2), 500, after(4));
        failed.forget(&script(3));
        assert_eq!(failed.pending(&script(2), after(4)), None);
    }
}
