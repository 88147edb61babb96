//! What `.gitignore` leaves out: files and folders that are made by programs. The files are read once, when a folder is
//! first asked about.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const NAME: &str = ".gitignore";

/// The patterns of the folders that are watched; those of folders above count as far as the repository reaches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignored {
    roots: Vec<PathBuf>,
    /// `None`: the folder has no patterns.
    known: RefCell<HashMap<PathBuf, Option<Gitignore>>>,
}

impl Ignored {
    /// For these folders and those below them.
    pub(crate) fn below(roots: &[PathBuf]) -> Self {
        Self { roots: roots.to_vec(), known: RefCell::default() }
    }

    /// Whether a file or a folder below a root is left out. The innermost file that says something counts, as with git.
    pub(crate) fn has(&self, path: &Path, is_folder: bool) -> bool {
        let Some(root) = self.roots.iter().find(|root| path.starts_with(root)) else {
            return false;
        };
        let top = repository(root);
        let mut known = self.known.borrow_mut();
        if path.file_name().is_some_and(|name| name == NAME) {
            known.clear();
        }
        for folder in path.ancestors().skip(1) {
            let is_above = !folder.starts_with(root);
            if is_above && !top.as_ref().is_some_and(|top| folder.starts_with(top)) {
                return false;
            }
            let patterns = known.entry(folder.to_owned()).or_insert_with(|| read(folder, root));
            let said = patterns.as_ref().map(|patterns| patterns.matched(path, is_folder));
            match said {
                Some(said) if said.is_ignore() => return true,
                Some(said) if said.is_whitelist() => return false,
                _ => {}
            }
        }
        false
    }
}

/// The patterns of a folder. Those by which the root itself would be left out do not count: it was asked for.
fn read(folder: &Path, root: &Path) -> Option<Gitignore> {
    let file = folder.join(NAME);
    if !file.is_file() {
        return None;
    }
    let mut builder = GitignoreBuilder::new(folder);
    // A line that is no pattern is left out, as git does.
    let _ = builder.add(&file);
    let patterns = builder.build().ok()?;
    let leaves_out_root = root.starts_with(folder)
        && root != folder
        && patterns.matched_path_or_any_parents(root, true).is_ignore();
    (!leaves_out_root).then_some(patterns)
}

/// The top of the repository that a folder is in.
fn repository(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_count_from_the_innermost_file_up_to_the_repository() {
        let base = std::env::temp_dir().join(format!("ignored-{}", std::process::id()));
        let root = base.join("repository/site");
        std::fs::create_dir_all(base.join("repository/.git")).unwrap();
        std::fs::create_dir_all(root.join("package")).unwrap();
        std::fs::create_dir_all(base.join("repository/generated")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(base.join(name), text).unwrap();
        write(".gitignore", "*\n");
        write("repository/.gitignore", "*.log.py\nout/\ngenerated/\n");
        write("repository/site/.gitignore", "/cache\nlocal.py\n");
        write("repository/site/package/.gitignore", "!local.py\n");
        let ignored = Ignored::below(std::slice::from_ref(&root));
        let has = |name: &str, is_folder| ignored.has(&root.join(name), is_folder);
        let found = [
            has("a.log.py", false),
            has("package/out", true),
            has("cache", true),
            has("package/cache", true),
            has("local.py", false),
            has("package/local.py", false),
            has("app.py", false),
        ];
        // A root that a folder above leaves out is watched all the same.
        let generated = base.join("repository/generated");
        let own =
            Ignored::below(std::slice::from_ref(&generated)).has(&generated.join("a.py"), false);
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(found, [true, true, true, false, true, false, false]);
        assert!(!own);
    }
}
