//! The Django project that a script leads to. Files are read as text; no check is known here.

use super::groups::Script;
use crate::application::{module_file, text_after};
use crate::text_file;
use std::path::{Path, PathBuf};

/// What makes Django's application of ASGI.
const OF_ASGI: &str = "get_asgi_application(";
/// How many files are looked at in a project, and how deep its folders are.
const MOST_FILES: usize = 3000;
const DEEPEST: usize = 8;

/// A project, by the script that an alias names.
#[derive(Debug)]
pub(super) struct Project {
    /// The file of its settings.
    pub(super) settings: PathBuf,
    /// The folder that its modules are imported from.
    root: PathBuf,
    /// The text of the script, and that of the module that the script loads.
    scripts: Vec<String>,
}

impl Project {
    /// That of a script with this text; `None` where no settings are named.
    pub(super) fn find(script: &Script, text: String) -> Option<Self> {
        let above = script.path.ancestors().skip(1).take(3).map(Path::to_owned);
        let configured = script.group.home.iter().chain(&script.group.python_path).cloned();
        let folders: Vec<PathBuf> = above.chain(configured).collect();
        let file = |name: &str| {
            folders.iter().find_map(|folder| Some((module_file(folder, name)?, folder.clone())))
        };
        let mut scripts = vec![text];
        // As the scripts of setup-server do.
        let loaded = scripts[0]
            .split_once("import_module(\"")
            .and_then(|(_, rest)| text_file::text(&file(rest.split('"').next()?)?.0).ok());
        scripts.extend(loaded);
        let named = |text: &String| file(&text_after(text, "DJANGO_SETTINGS_MODULE")?);
        let (settings, root) = scripts.iter().find_map(named)?;
        Some(Self { settings, root, scripts })
    }

    /// Whether Django itself is the application of ASGI, and not a part of another one.
    pub(super) fn is_plain_asgi(&self) -> bool {
        let others = ["FastAPI(", "Starlette(", "Litestar(", "ProtocolTypeRouter("];
        let has = |part: &str| self.scripts.iter().any(|text| text.contains(part));
        has(OF_ASGI) && !others.into_iter().any(has)
    }

    /// Whether no file of the project has a word of asynchronous code; `None` where that cannot be told, because the
    /// files cannot be read or are too many.
    pub(super) fn is_synchronous(&self) -> Option<bool> {
        let mut left = MOST_FILES;
        has_async(&self.root, DEEPEST, &mut left).map(|found| !found)
    }
}

/// Whether a file of Python below the folder has the word; virtual environments and hidden folders are none of the
/// project's.
fn has_async(folder: &Path, depth: usize, left: &mut usize) -> Option<bool> {
    if folder.join("pyvenv.cfg").exists() {
        return Some(false);
    }
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        // A link leads out of the project, or to what is looked at anyway.
        let kind = entry.file_type().ok()?;
        if kind.is_dir() && !name.starts_with('.') && name != "node_modules" {
            folders.push(path);
        } else if kind.is_file() && name.ends_with(".py") {
            *left = left.checked_sub(1)?;
            let (text, _) = text_file::bytes(&path).ok()?;
            if text.windows(5).any(|word| word.eq_ignore_ascii_case(b"async")) {
                return Some(true);
            }
        }
    }
    let depth = depth.checked_sub(1)?;
    for folder in folders {
        if has_async(&folder, depth, left)? {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asynchronous_code_is_found_where_it_is_the_projects_own() {
        let root = std::env::temp_dir().join(format!("doctor-async-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let file = root.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        let has = || has_async(&root, DEEPEST, &mut 100);
        write("site/views.py", "def view(request): pass\n");
        write("venv/pyvenv.cfg", "");
        write("venv/lib/other.py", "async def other(): pass\n");
        write(".git/hook.py", "async def other(): pass\n");
        write("notes.txt", "async");
        let plain = (has(), has_async(&root, DEEPEST, &mut 0), has_async(&root, 0, &mut 100));
        write("site/deep/views.py", "class View(AsyncView): pass\n");
        let found = has();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(plain, (Some(false), None, None));
        assert_eq!(found, Some(true));
    }
}
