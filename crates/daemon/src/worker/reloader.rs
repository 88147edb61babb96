//! `reload=On`: notices that a source file of a loaded module has changed. It replaces no worker.
#![forbid(unsafe_code)]

use crate::message::Loaded;
use crate::worker::file_time::modified;
use std::collections::HashMap;
use std::path::PathBuf;

/// The files that are watched, and when each was last modified.
#[derive(Default)]
pub(crate) struct Reloader {
    known: HashMap<PathBuf, Option<i64>>,
}

impl Reloader {
    /// Which of `files` have changed since the last call. A file that is new here has not, and neither has one that does
    /// not exist: it is being replaced.
    pub(crate) fn check_files(&mut self, files: Vec<PathBuf>) -> Vec<Loaded> {
        let mut changed = Vec::new();
        for path in files {
            let now = modified(&path);
            match self.known.get_mut(&path) {
                None => drop(self.known.insert(path, now)),
                Some(before) if now.is_some() && *before != now => {
                    *before = now;
                    let application_group = String::new();
                    changed.push(Loaded { path, application_group, modified: now, callable: None });
                }
                Some(_) => {}
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
        let mut check_files = || reloader.check_files(vec![path.clone(), "/nowhere".into()]).len();
        assert_eq!((check_files(), check_files()), (0, 0));
        file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
        assert_eq!((check_files(), check_files()), (1, 0));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(check_files(), 0);
    }
}
