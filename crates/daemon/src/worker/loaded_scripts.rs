//! Which scripts a worker has loaded, and in which state of their files. It loads none.
#![forbid(unsafe_code)]

use crate::message::Loaded;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::FileVersion;

/// The scripts that a worker has loaded.
#[derive(Default)]
pub(super) struct LoadedScripts(Mutex<Vec<Loaded>>);

/// What a worker has of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing.
    Missing,
    /// The script, in the state that is asked for, or in one that has been found stale before.
    Loaded,
    /// The script in another state of its file, found for the first time.
    Stale,
}

impl LoadedScripts {
    /// Notes a script that has been loaded; whether this says more than was known before.
    pub(super) fn note(&self, loaded: &Loaded) -> bool {
        let mut scripts = self.scripts();
        match scripts.iter_mut().find(|script| script.is_same_script(loaded)) {
            Some(script) if script.callable.is_some() || loaded.callable.is_none() => return false,
            // Loaded when the worker started; now it is known which callable requests name.
            Some(script) => script.callable.clone_from(&loaded.callable),
            None => scripts.push(loaded.clone()),
        }
        true
    }

    /// Whether the script has been loaded and noted for a request. `modified` is the state of the file that is
    /// asked for, if that matters.
    pub(super) fn is_current(
        &self,
        path: &[u8],
        group: &[u8],
        modified: Option<FileVersion>,
    ) -> bool {
        self.scripts().iter().any(|script| {
            script.callable.is_some()
                && script.is_script(path, group)
                && (modified.is_none() || script.modified == modified)
        })
    }

    /// What there is of the script `wanted`. Each state of a file is reported as stale once.
    pub(super) fn find(&self, wanted: &Loaded, reloading: bool) -> Held {
        let mut scripts = self.scripts();
        match scripts.iter_mut().find(|script| script.is_same_script(wanted)) {
            None => Held::Missing,
            Some(script)
                if reloading && script.modified != wanted.modified && wanted.modified.is_some() =>
            {
                script.modified = wanted.modified;
                Held::Stale
            }
            Some(_) => Held::Loaded,
        }
    }

    fn scripts(&self) -> MutexGuard<'_, Vec<Loaded>> {
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
        assert!(!scripts.is_current(b"/srv/app.py", b"", Some(version(1))));
        assert!(scripts.note(&script(1, Some("application"))));
        assert!(!scripts.note(&script(1, Some("application"))));
        assert!(scripts.is_current(b"/srv/app.py", b"", Some(version(1))));
        assert!(!scripts.is_current(b"/srv/app.py", b"", Some(version(2))));
        assert!(scripts.is_current(b"/srv/app.py", b"", None));
        assert!(!scripts.is_current(b"/srv/app.py", b"other", Some(version(1))));
    }

    #[test]
    fn each_state_of_a_file_is_stale_once() {
        let scripts = LoadedScripts::default();
        assert_eq!(scripts.find(&script(1, None), true), Held::Missing);
        scripts.note(&script(1, None));
        let held = |modified, reloading| scripts.find(&script(modified, None), reloading);
        assert_eq!([held(1, true), held(2, false)], [Held::Loaded; 2]);
        assert_eq!([held(2, true), held(2, true)], [Held::Stale, Held::Loaded]);
    }
}
