//! The folders of an application: walked without those whose files are not edited by hand.

use super::changes::Patterns;
use std::path::{Path, PathBuf};

/// More folders than these are not watched.
const MOST: usize = 20_000;

/// This folder and those below it that are watched. Links to folders are not followed, so that there is no circle.
pub(super) fn folders(root: &Path, patterns: &Patterns) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && found.len() < MOST && patterns.enters(&entry.path()) {
                found.push(entry.path());
            }
        }
    }
    found
}
