//! The module's own files: mod_wsgi_rs.so and the programs that it starts, which are in the same folder.

use super::apache::Apache;
use crate::failure::Failure;
use crate::options::Programs;
use std::path::{Path, PathBuf};

const MODULE: &str = "mod_wsgi_rs.so";
/// Names of files that belong to the module begin with one of these.
const BESIDE: [&str; 2] = ["wsgi-daemon-", "wsgi_host."];

/// A module that can be loaded.
#[derive(Debug)]
pub(crate) struct ModuleFiles {
    /// The full path of mod_wsgi_rs.so.
    pub(crate) module: PathBuf,
}

impl ModuleFiles {
    /// Looks for the module: where `--module` says, beside this program, in the folders of an environment that this program
    /// is installed in, and in the folder of Apache's modules.
    pub(crate) fn find(programs: &Programs) -> Result<Self, Failure> {
        if let Some(path) = &programs.module {
            let module = std::fs::canonicalize(path)
                .map_err(|why| Failure::usage(format!("--module {}: {why}", path.display())))?;
            return Ok(Self { module });
        }
        let program = std::env::current_exe().unwrap_or_default();
        let program = std::fs::canonicalize(&program).unwrap_or(program);
        let mut places = near(&program);
        if let Ok(apache) = Apache::find(programs) {
            places.push(apache.modules);
        }
        let found = places.iter().map(|folder| folder.join(MODULE)).find(|path| path.is_file());
        found.map(|module| Self { module }).ok_or_else(|| {
            let looked: Vec<String> =
                places.iter().map(|path| path.display().to_string()).collect();
            Failure::server(format!(
                "{MODULE} is missing; looked in {}; name it with --module",
                looked.join(", ")
            ))
        })
    }

    /// The module and all files that belong to it.
    pub(crate) fn all(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.module.parent().unwrap_or(Path::new("/"));
        let failed = |why| Failure::server(format!("{}: {why}", folder.display()));
        let mut files = vec![self.module.clone()];
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if belongs(&path) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Copies the files to a folder, each in one step, because a running Apache may open one meanwhile. Returns the module's
    /// new path and those of all files.
    pub(crate) fn install(&self, folder: &Path) -> Result<(Self, Vec<PathBuf>), Failure> {
        let module = folder.join(MODULE);
        let mut installed = Vec::new();
        let is_same = std::fs::canonicalize(folder).ok().as_deref() == self.module.parent();
        for file in if is_same { vec![] } else { self.all()? } {
            let name = if file == self.module {
                MODULE.as_ref()
            } else {
                file.file_name().unwrap_or_default()
            };
            let target = folder.join(name);
            let part = folder.join(format!(".{}.new", name.to_string_lossy()));
            let copied = std::fs::copy(&file, &part).and_then(|_| std::fs::rename(&part, &target));
            copied.map_err(|why| {
                let _ = std::fs::remove_file(&part);
                Failure::server(format!("{} cannot be written: {why}", target.display()))
            })?;
            installed.push(target);
        }
        Ok((Self { module }, installed))
    }
}

/// Folders relative to this program that may have the module.
fn near(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else { return vec![] };
    let mut places = vec![folder.to_owned()];
    if let Some(prefix) = folder.parent() {
        places.push(prefix.join("lib/mod_wsgi_rs"));
        places.push(prefix.join("libexec/mod_wsgi_rs"));
        places.extend(of_wheels(prefix));
    }
    places
}

/// Where wheels that are installed in this prefix have the module: one for each version of Python, the newest first.
fn of_wheels(prefix: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for library in ["lib", "lib64"] {
        let Ok(entries) = std::fs::read_dir(prefix.join(library)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(version) = name.to_str().and_then(|name| name.strip_prefix("python3.")) else {
                continue;
            };
            let minor = version.trim_end_matches('t').parse().unwrap_or(0);
            for packages in ["site-packages", "dist-packages"] {
                let folder = entry.path().join(packages).join("mod_wsgi_rs/modules");
                if folder.join(MODULE).is_file() {
                    found.push((minor, folder));
                }
            }
        }
    }
    found.sort_by_key(|(minor, _)| std::cmp::Reverse(*minor));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn belongs(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // cargo writes a list of sources beside each program.
    BESIDE.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with(".d") && path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_of_a_wheel_is_found_in_the_prefix_that_the_command_is_installed_in() {
        let root = std::env::temp_dir().join(format!("module-of-wheel-{}", std::process::id()));
        let of = |library: &str| root.join(library).join("mod_wsgi_rs/modules");
        let libraries = ["lib/python3.9/site-packages", "lib/python3.11/dist-packages"];
        for library in libraries.map(of) {
            std::fs::create_dir_all(&library).unwrap();
            std::fs::write(library.join(MODULE), "").unwrap();
        }
        std::fs::create_dir_all(of("lib/python3.12/site-packages")).unwrap();
        let found = near(&root.join("bin/mod_wsgi_rs"));
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found[3..], [of(libraries[1]), of(libraries[0])]);
    }

    #[test]
    fn files_of_the_module_are_copied_together() {
        let root = std::env::temp_dir().join(format!("module-files-{}", std::process::id()));
        let (from, to) = (root.join("from"), root.join("to"));
        std::fs::create_dir_all(&from).unwrap();
        std::fs::create_dir_all(&to).unwrap();
        for name in
            [MODULE, "wsgi-daemon-3.11", "wsgi-daemon-manager", "wsgi-daemon-3.11.d", "other"]
        {
            std::fs::write(from.join(name), name).unwrap();
        }
        let files = ModuleFiles { module: from.join(MODULE) };
        let (installed, paths) = files.install(&to).unwrap();
        let again = installed.install(&std::fs::canonicalize(&to).unwrap());
        let names: Vec<_> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        let left = std::fs::read_dir(&to).unwrap().count();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(installed.module, to.join(MODULE));
        assert_eq!(names, [MODULE, "wsgi-daemon-3.11", "wsgi-daemon-manager"]);
        assert_eq!(left, 3);
        assert!(again.is_ok_and(|(_, paths)| paths.is_empty() || paths.len() == 3));
    }
}
