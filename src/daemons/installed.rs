//! What is installed beside the module for each version of Python. It must never know a group.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is installed for one version of Python.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    /// `3.13`, or `3.13t` for a free-threaded build.
    pub(crate) version: String,
    /// `wsgi-daemon-X.Y`, which is linked to a library of that version.
    pub(crate) program: Option<PathBuf>,
    /// `wsgi_host.cpython-XY-….so`, which any Python of that version loads.
    pub(crate) extension: Option<PathBuf>,
}

/// Everything, by version.
pub(crate) fn installed() -> Vec<Installed> {
    let anchor: fn() -> Vec<Installed> = installed;
    let beside =
        sys::loaded_from(anchor as *const ()).and_then(|file| Some(file.parent()?.to_owned()));
    let folders = beside.into_iter().chain(
        ["/usr/libexec/mod_wsgi_rs", "/usr/lib/mod_wsgi_rs", "/usr/local/libexec/mod_wsgi_rs"]
            .map(PathBuf::from),
    );
    let mut found: Vec<Installed> = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let Some(name) = name.to_str() else { continue };
            if let Some(version) = version_of_program(name).filter(|_| is_file(&path, 0o111)) {
                entry_of(&mut found, version).program.get_or_insert(path);
            } else if let Some(version) = version_of_extension(name).filter(|_| is_file(&path, 0)) {
                entry_of(&mut found, version).extension.get_or_insert(path);
            }
        }
    }
    found.sort_by(|one, other| one.version.cmp(&other.version));
    found
}

fn entry_of(found: &mut Vec<Installed>, version: String) -> &mut Installed {
    let at = found.iter().position(|it| it.version == version).unwrap_or_else(|| {
        found.push(Installed { version, ..Installed::default() });
        found.len() - 1
    });
    &mut found[at]
}

/// `wsgi-daemon-3.13t`.
fn version_of_program(name: &str) -> Option<String> {
    let version = name.strip_prefix("wsgi-daemon-")?;
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

/// `wsgi_host.cpython-313t-x86_64-linux-gnu.so`, as CPython itself names extensions.
fn version_of_extension(name: &str) -> Option<String> {
    let tag = name.strip_prefix("wsgi_host.cpython-")?.strip_suffix(".so")?.split('-').next()?;
    let minor = tag.strip_prefix('3')?;
    let digits = minor.strip_suffix('t').unwrap_or(minor);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("3.{minor}"))
}

/// Whether it is a file with one of these bits, unlike what an interrupted installation left behind.
fn is_file(path: &Path, bits: u32) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && (bits == 0 || it.mode() & bits != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_tell_the_version() {
        for (name, version) in [
            ("wsgi_host.cpython-311-x86_64-linux-gnu.so", Some("3.11")),
            ("wsgi_host.cpython-313t-aarch64-linux-gnu.so", Some("3.13t")),
            ("wsgi_host.cpython-311-x86_64-linux-gnu.so.debug", None),
            (".wsgi_host.cpython-311-x86_64-linux-gnu.so.new", None),
            ("wsgi_host.cpython-.so", None),
            ("wsgi_host.abi3.so", None),
        ] {
            assert_eq!(version_of_extension(name).as_deref(), version, "{name}");
        }
        assert_eq!(version_of_program("wsgi-daemon-3.13t").as_deref(), Some("3.13t"));
        assert_eq!(version_of_program("wsgi-daemon-manager"), None);
    }
}
