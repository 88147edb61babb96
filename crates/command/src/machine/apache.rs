//! Apache's program and the folder of its modules. It need not have been installed for development: apxs is asked only
//! where no usual folder has modules.

use crate::failure::Failure;
use crate::options::Programs;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where distributions have Apache's modules, relative to the prefix of the program or absolute.
const USUAL: [&str; 7] = [
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/libexec/apache2",
    "/usr/lib64/apache2",
    "/usr/lib/apache2",
    "/usr/local/apache2/modules",
];

/// Folders of programs that are not in an ordinary user's PATH.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// An installed Apache.
#[derive(Debug)]
pub(crate) struct Apache {
    /// The program.
    pub(crate) httpd: PathBuf,
    /// As in `2.4.57`.
    pub(crate) version: String,
    /// The folder of its modules.
    pub(crate) modules: PathBuf,
    /// Names of the modules that are part of the program, as in `unixd`.
    builtin: BTreeSet<String>,
}

impl Apache {
    /// Looks for it.
    pub(crate) fn find(programs: &Programs) -> Result<Self, Failure> {
        let httpd = match &programs.httpd_executable {
            Some(path) => find_program(path).ok_or_else(|| {
                Failure::usage(format!("--httpd-executable {}: no such program", path.display()))
            })?,
            None => ["apache2", "httpd"].iter().find_map(|name| find_program(Path::new(name))).ok_or_else(
                || {
                    Failure::server(
                        "Apache is missing: install apache2-bin (Debian, Ubuntu) or httpd (Fedora), or name it \
                         with --httpd-executable",
                    )
                },
            )?,
        };
        let version = version(&output(&httpd, "-v")?)
            .ok_or_else(|| Failure::server(format!("{} is no Apache 2.4", httpd.display())))?;
        let builtin = builtin(&output(&httpd, "-l")?);
        let modules = match &programs.modules_directory {
            Some(path) => path.clone(),
            None => modules(&httpd).ok_or_else(|| {
                Failure::server(
                    "the folder of Apache's modules is unknown; name it with --modules-directory",
                )
            })?,
        };
        Ok(Self { httpd, version, modules, builtin })
    }

    /// Whether Apache has this module, as in `mime`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.builtin.contains(name) || self.file(name).exists()
    }

    /// The module's file, or `None` where it is part of the program.
    pub(crate) fn module_file(&self, name: &str) -> Option<PathBuf> {
        (!self.builtin.contains(name)).then(|| self.file(name))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.modules.join(format!("mod_{name}.so"))
    }
}

/// A program by its path, or by its name in PATH and in the folders of system programs.
pub(crate) fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 || name.is_absolute() {
        return std::fs::canonicalize(name).ok().filter(|path| is_program(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn output(httpd: &Path, option: &str) -> Result<String, Failure> {
    let done = Command::new(httpd)
        .arg(option)
        .output()
        .map_err(|why| Failure::server(format!("{} cannot be run: {why}", httpd.display())))?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn version(text: &str) -> Option<String> {
    let after = text.split_once("Apache/")?.1;
    let version = after.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    version.starts_with("2.4.").then(|| version.to_owned())
}

fn builtin(text: &str) -> BTreeSet<String> {
    let name = |line: &str| Some(line.trim().strip_prefix("mod_")?.strip_suffix(".c")?.to_owned());
    // The MPMs of a static build have no `mod_`: event.c, worker.c, prefork.c.
    let mpm = |line: &str| {
        let name = line.trim().strip_suffix(".c")?;
        ["event", "worker", "prefork"].contains(&name).then(|| format!("mpm_{name}"))
    };
    text.lines().filter_map(|line| name(line).or_else(|| mpm(line))).collect()
}

fn modules(httpd: &Path) -> Option<PathBuf> {
    let has_modules = |folder: &PathBuf| folder.join("mod_authz_core.so").exists();
    let beside = httpd.parent().and_then(Path::parent).map(|prefix| prefix.join("modules"));
    let usual = USUAL.iter().map(PathBuf::from).chain(beside).find(has_modules);
    usual.or_else(|| {
        let apxs = ["apxs", "apxs2"].iter().find_map(|name| find_program(Path::new(name)))?;
        let done = Command::new(apxs).args(["-q", "LIBEXECDIR"]).output().ok()?;
        let folder = String::from_utf8(done.stdout).ok()?;
        Some(PathBuf::from(folder.trim())).filter(has_modules)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_modules_are_read_from_what_httpd_prints() {
        assert_eq!(version("Server version: Apache/2.4.71 (Debian)\n").as_deref(), Some("2.4.71"));
        assert_eq!(version("Server version: Apache/2.2.1"), None);
        assert_eq!(version("other"), None);
        let modules = builtin("Compiled in modules:\n  core.c\n  mod_so.c\n  event.c\n");
        assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["mpm_event", "so"]);
    }

    #[test]
    fn program_is_found_by_name_and_by_path() {
        assert!(find_program(Path::new("sh")).is_some_and(|path| path.ends_with("sh")));
        assert!(find_program(Path::new("/bin/sh")).is_some());
        assert_eq!(find_program(Path::new("no such program")), None);
        assert_eq!(find_program(Path::new("/etc/passwd")), None);
    }
}
