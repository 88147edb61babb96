//! Which scripts a worker has loaded, and in which state of their files. It loads none.
#![forbid(unsafe_code)]

use crate::message::Loaded;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::FileVersion;

/// The scripts that a worker has loaded.
#[derive(Default)]
pub(super) struct LoadedScripts(Mutex<Vec<Script>>);

/// A script that a worker has loaded.
struct Script {
    /// With the state of the file that was seen last, which need not be the one that was loaded.
    loaded: Loaded,
    freshness: Freshness,
}

/// How a worker's code compares with the file's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// As far as is known it is the same.
    Current,
    /// It is older, and the manager has been told.
    Outdated,
    /// It is older, and stays, because the new code could not be loaded.
    Kept,
}

/// A script that a worker has loaded and served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InUse {
    /// Whether it may say that it has to be loaded again: not where that has been tried.
    pub(super) may_ask_for_reload: bool,
}

/// What a worker has of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing.
    Missing,
    /// The script, in the state that is asked for, or in one that stays because the new one could not be loaded.
    Loaded,
    /// The script in another state of its file, found for the first time.
    Stale,
    /// The script in a state that has been found stale before; the worker is going to be replaced.
    Outdated,
}

impl LoadedScripts {
    /// Notes a script that has been loaded; whether this says more than was known before.
    pub(super) fn note(&self, loaded: &Loaded) -> bool {
        let mut scripts = self.scripts();
        match scripts.iter_mut().find(|script| script.loaded.is_same_script(loaded)) {
            Some(script) if script.loaded.callable.is_some() || loaded.callable.is_none() => {
                return false;
            }
            // Loaded when the worker started; now it is known which callable requests name.
            Some(script) => script.loaded.callable.clone_from(&loaded.callable),
            None => {
                let freshness = Freshness::Current;
                scripts.push(Script { loaded: loaded.clone(), freshness });
            }
        }
        true
    }

    /// The script, if it has been loaded and noted for a request. `modified` is the state of the file that is
    /// asked for, if that matters.
    pub(super) fn current(
        &self,
        path: &[u8],
        group: &[u8],
        modified: Option<FileVersion>,
    ) -> Option<InUse> {
        let is_current = |Script { loaded, freshness }: &Script| {
            let fresh = || loaded.modified == modified && *freshness != Freshness::Outdated;
            loaded.callable.is_some()
                && loaded.is_script(path, group)
                && (modified.is_none() || fresh())
        };
        let scripts = self.scripts();
        let script = scripts.iter().find(|script| is_current(script))?;
        Some(InUse { may_ask_for_reload: script.freshness == Freshness::Current })
    }

    /// What there is of the script `wanted`. Each state of a file is reported as stale once.
    pub(super) fn find(&self, wanted: &Loaded, reloading: bool) -> Held {
        let mut scripts = self.scripts();
        match scripts.iter_mut().find(|script| script.loaded.is_same_script(wanted)) {
            None => Held::Missing,
            Some(_) if !reloading => Held::Loaded,
            Some(script)
                if script.loaded.modified != wanted.modified && wanted.modified.is_some() =>
            {
                script.loaded.modified = wanted.modified;
                script.freshness = Freshness::Outdated;
                Held::Stale
            }
            Some(script) if script.freshness == Freshness::Outdated => Held::Outdated,
            Some(_) => Held::Loaded,
        }
    }

    /// Marks a script as older than its new code, whose file is in the state `modified`, if that is another one; gives
    /// it where that is new.
    pub(super) fn mark_outdated(
        &self,
        path: &[u8],
        group: &[u8],
        modified: Option<FileVersion>,
    ) -> Option<Loaded> {
        let mut scripts = self.scripts();
        let script = scripts.iter_mut().find(|script| script.loaded.is_script(path, group))?;
        let before = script.loaded.modified;
        script.loaded.modified = modified.or(before);
        let newly = script.freshness == Freshness::Current || script.loaded.modified != before;
        script.freshness = Freshness::Outdated;
        newly.then(|| script.loaded.clone())
    }

    /// The new code could not be loaded: the worker goes on with what it has, unless the file that was `refused` has
    /// changed since then. What has become of that state of it the manager tells later.
    pub(super) fn keep(&self, refused: Option<&Loaded>) {
        let is_newer = |script: &Script| {
            refused.is_some_and(|refused| {
                refused.path == script.loaded.path && !refused.is_same_file(&script.loaded)
            })
        };
        for script in &mut *self.scripts() {
            if script.freshness == Freshness::Outdated && !is_newer(script) {
                script.freshness = Freshness::Kept;
            }
        }
    }

    fn scripts(&self) -> MutexGuard<'_, Vec<Script>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(modified: i64) -> FileVersion {
        FileVersion { modified, size: 1, inode: 1 }
    }

    fn script(modified: i64, callable: Option<&str>) -> Loaded {
        Loaded {
            path: "/srv/app.py".into(),
            application_group: String::new(),
            modified: Some(version(modified)),
            callable: callable.map(str::to_owned),
        }
    }

    #[test]
    fn a_script_is_current_once_a_request_has_named_its_callable() {
        let scripts = LoadedScripts::default();
        assert!(scripts.note(&script(1, None)));
        let is_current =
            |group, modified| scripts.current(b"/srv/app.py", group, modified).is_some();
        assert!(!is_current(b"", Some(version(1))));
        assert!(scripts.note(&script(1, Some("application"))));
        assert!(!scripts.note(&script(1, Some("application"))));
        assert!(is_current(b"", Some(version(1))) && is_current(b"", None));
        assert!(!is_current(b"", Some(version(2))) && !is_current(b"other", Some(version(1))));
    }

    #[test]
    fn each_state_of_a_file_is_stale_once() {
        let scripts = LoadedScripts::default();
        assert_eq!(scripts.find(&script(1, None), true), Held::Missing);
        scripts.note(&script(1, None));
        let held = |modified, reloading| scripts.find(&script(modified, None), reloading);
        assert_eq!([held(1, true), held(2, false)], [Held::Loaded; 2]);
        assert_eq!([held(2, true), held(2, true)], [Held::Stale, Held::Outdated]);
        scripts.keep(None);
        assert_eq!([held(2, true), held(3, true)], [Held::Loaded, Held::Stale]);
    }

    #[test]
    fn an_answer_about_an_older_state_of_the_file_leaves_a_newer_one_to_be_waited_for() {
        let scripts = LoadedScripts::default();
        scripts.note(&script(1, None));
        let held = |modified| scripts.find(&script(modified, None), true);
        assert_eq!([held(2), held(3)], [Held::Stale; 2]);
        // The manager has sent it before it has read that the file has changed again.
        scripts.keep(Some(&script(2, Some("application"))));
        assert_eq!(held(3), Held::Outdated);
        scripts.keep(Some(&script(3, None)));
        assert_eq!(held(3), Held::Loaded);
    }

    #[test]
    fn a_script_asks_for_its_reload_once_until_its_file_changes() {
        let scripts = LoadedScripts::default();
        let may_ask = || {
            let script = scripts.current(b"/srv/app.py", b"", Some(version(1)));
            script.map(|script| script.may_ask_for_reload)
        };
        scripts.note(&script(1, Some("application")));
        assert_eq!(may_ask(), Some(true));
        let mark = || scripts.mark_outdated(b"/srv/app.py", b"", None);
        assert!(mark().is_some() && mark().is_none());
        assert_eq!((may_ask(), scripts.find(&script(1, None), true)), (None, Held::Outdated));
        scripts.keep(None);
        assert_eq!(may_ask(), Some(false));
        // Its file has been found in another state before a request found it stale.
        let outdated = scripts.mark_outdated(b"/srv/app.py", b"", Some(version(2)));
        assert_eq!(outdated.and_then(|script| script.modified), Some(version(2)));
        assert_eq!(scripts.find(&script(2, None), true), Held::Outdated);
    }
}
