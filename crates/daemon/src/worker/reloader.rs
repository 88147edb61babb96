//! `reload=On`: notices that a source file of a loaded module has changed. It replaces no worker.
#![forbid(unsafe_code)]

use crate::message::Loaded;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use wsgi::FileVersion;

/// The files that are watched, with their version and the nanoseconds of the time of modification.
#[derive(Default)]
pub(crate) struct Reloader {
    known: HashMap<PathBuf, Option<(FileVersion, i64)>>,
}

impl Reloader {
    /// Which of `files` have changed since the last call; of those that are new here, which have changed since they were
    /// imported. `imported` gives the time of that, in nanoseconds since the epoch, if it is known. A file that does not
    /// exist is being replaced, and has not changed yet.
    pub(crate) fn check_files(
        &mut self,
        files: Vec<PathBuf>,
        imported: impl Fn(&PathBuf) -> Option<i64>,
    ) -> Vec<Loaded> {
        let mut changed = Vec::new();
        for path in files {
            let found = path.metadata().ok();
            let now = found.as_ref().map(|found| (FileVersion::of(found), found.mtime_nsec()));
            let has_changed = match self.known.get(&path) {
                Some(before) => now.is_some() && *before != now,
                None => found.is_some_and(|found| is_younger(&found, imported(&path))),
            };
            if has_changed || !self.known.contains_key(&path) {
                self.known.insert(path.clone(), now);
            }
            if has_changed {
                let (application_group, modified) =
                    (String::new(), now.map(|(version, _)| version));
                changed.push(Loaded { path, application_group, modified, callable: None });
            }
        }
        changed
    }
}

/// Whether a file has been modified after it was imported. One of the future may have been modified at any time, and
/// would be younger than the next import as well.
fn is_younger(found: &Metadata, imported: Option<i64>) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let modified = found.mtime() * 1_000_000_000 + found.mtime_nsec();
    imported.is_some_and(|imported| modified > imported) && i128::from(modified) <= now as i128
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Duration;

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
    fn a_file_that_is_younger_than_its_import_has_changed() {
        let path = std::env::temp_dir().join(format!("younger-{}.py", std::process::id()));
        let file = File::create(&path).unwrap();
        let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let now = SystemTime::now();
        let seconds = Duration::from_secs;
        let check = |modified, imported| {
            file.set_modified(modified).unwrap();
            Reloader::default().check_files(vec![path.clone()], |_| imported).len()
        };
        assert_eq!(check(now - seconds(5), Some(nanos(now - seconds(6)))), 1);
        assert_eq!(check(now - seconds(5), Some(nanos(now - seconds(4)))), 0);
        assert_eq!(check(now - seconds(5), None), 0);
        assert_eq!(check(now + seconds(500), Some(nanos(now))), 0);
        std::fs::remove_file(&path).unwrap();
    }
}
