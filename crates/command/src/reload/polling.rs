//! Changes that are found by looking at all files now and then, where the kernel does not tell of them.

use super::tree;
use super::{Change, Patterns};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// The files that were seen last.
pub(super) struct Polling {
    roots: Vec<PathBuf>,
    files: HashMap<PathBuf, SystemTime>,
}

impl Polling {
    pub(super) fn new(roots: &[PathBuf], patterns: &Patterns) -> Self {
        let files = look(roots, patterns);
        Self { roots: roots.to_vec(), files }
    }

    /// The files that have changed, come or gone since the last call.
    pub(super) fn changed(&mut self, patterns: &Patterns) -> Vec<(Change, PathBuf)> {
        let now = look(&self.roots, patterns);
        let before = std::mem::replace(&mut self.files, now);
        let come = self.files.iter().filter(|(path, time)| before.get(*path) != Some(time));
        let gone = before.iter().filter(|(path, _)| !self.files.contains_key(*path));
        let paths = come.chain(gone).map(|(path, _)| path.clone());
        paths.filter_map(|path| Some((patterns.change(&path)?, path))).collect()
    }
}

fn look(roots: &[PathBuf], patterns: &Patterns) -> HashMap<PathBuf, SystemTime> {
    let folders = roots.iter().flat_map(|root| tree::folders(root, patterns));
    let entries = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            patterns.change(&path)?;
            let time = std::fs::metadata(&path).ok()?.modified().ok()?;
            Some((path, time))
        })
        .collect()
}
