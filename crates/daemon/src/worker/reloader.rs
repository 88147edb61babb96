//! `reload=On`: notices that a source file of a loaded module has changed. It replaces no worker.
#![forbid(unsafe_code)]

use crate::message::Loaded;
use std::collections::HashMap;
use std::path::PathBuf;
use wsgi::ExactVersion;

/// The files that are watched, with their version; `None` where there is no file.
#[derive(Default)]
pub(crate) struct Reloader {
    known: HashMap<PathBuf, Option<ExactVersion>>,
}

impl Reloader {
    /// Which of `files` have changed since the last call; of those that are new here, which have changed since they were
    /// imported. `imported` gives the version that was, if it is known. A file that does not exist is being replaced,
    /// and has not changed yet.
    pub(crate) fn check_files(
        &mut self,
        files: Vec<PathBuf>,
        imported: impl Fn(&PathBuf) -> Option<ExactVersion>,
    ) -> Vec<Loaded> {
        let mut changed = Vec::new();
        for path in files {
            let now = path.metadata().ok().map(|found| ExactVersion::of(&found));
            let is_known = self.known.contains_key(&path);
            let before = match self.known.get(&path) {
                Some(before) => *before,
                None => imported(&path).or(now),
            };
            let has_changed = now.is_some() && before != now;
            if has_changed || !is_known {
                self.known.insert(path.clone(), now);
            }
            if has_changed {
                let (application_group, modified) = (String::new(), now.map(|now| now.version));
                changed.push(Loaded { path, application_group, modified, callable: None });
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    #[test]
    fn each_change_is_reported_once() {
        let path = std::env::temp_dir().join(format!("reloader-{}.py", std::process::id()));
        let file = File::create(&path).unwrap();
        let mut reloader = Reloader::default();
        let files = || vec![path.clone(), "/nowhere".into()];
        let mut check_files = || reloader.check_files(files(), |_| None).len();
        assert_eq!((check_files(), check_files()), (0, 0));
        let later = SystemTime::now() + Duration::from_secs(5);
        file.set_modified(later).unwrap();
        assert_eq!((check_files(), check_files()), (1, 0));
        // The nanosecond after.
        file.set_modified(later + Duration::from_nanos(1)).unwrap();
        assert_eq!((check_files(), check_files()), (1, 0));
        // The same time, another size; the same time and size, another file.
        let later = later + Duration::from_nanos(1);
        file.set_len(3).unwrap();
        file.set_modified(later).unwrap();
        assert_eq!((check_files(), check_files()), (1, 0));
        let other = path.with_extension("new");
        let file = File::create(&other).unwrap();
        file.set_len(3).unwrap();
        file.set_modified(later).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!((check_files(), check_files()), (1, 0));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(check_files(), 0);
    }

    #[test]
    fn a_file_that_is_not_the_one_that_was_imported_has_changed() {
        let path = std::env::temp_dir().join(format!("imported-{}.py", std::process::id()));
        let file = File::create(&path).unwrap();
        let now = SystemTime::now();
        let version = |modified| {
            file.set_modified(modified).unwrap();
            ExactVersion::of(&file.metadata().unwrap())
        };
        let imported = version(now);
        let check = |imported| {
            let mut reloader = Reloader::default();
            let mut check = || reloader.check_files(vec![path.clone()], |_| imported).len();
            (check(), check())
        };
        assert_eq!(check(Some(imported)), (0, 0));
        assert_eq!(check(None), (0, 0));
        // Whether the time goes forward or back, and however little.
        for other in [now + Duration::from_nanos(1), now - Duration::from_secs(5)] {
            version(other);
            assert_eq!(check(Some(imported)), (1, 0));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
