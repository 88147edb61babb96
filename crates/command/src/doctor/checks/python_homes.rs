//! The Pythons: each home exists, its base installation too, and for its version there is a program or an extension.

use crate::doctor::findings::Report;
use crate::doctor::groups::{Group, Script};
use crate::doctor::server::Server;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const CHECK: &str = "python-homes";

pub(super) fn check(server: &Server, report: &mut Report) {
    let beside = server.wsgi_module().and_then(Path::parent);
    let used = Script::all(server);
    for group in Group::all(server) {
        let Some(home) = &group.python_home else { continue };
        // httpd has said what is wrong with it.
        let is_used =
            !group.name.is_empty() || used.iter().any(|script| script.group.name.is_empty());
        if server.is_mentioned(&home.display().to_string()) || !is_used {
            continue;
        }
        match look(home) {
            Err(Trouble::Unseen(path)) => {
                report.unseen(CHECK, format!("{}: this user may not look at it", path.display()));
            }
            Err(trouble) => report.error(CHECK, trouble.sentence(home, &group)),
            Ok(version) => {
                if let Some(folder) = beside.filter(|_| !group.name.is_empty())
                    && !has_program(folder, &version)
                {
                    report.error(
                        CHECK,
                        format!(
                            "{} has Python {version} ({}), for which {} has neither wsgi-daemon-{version} nor an \
                             extension; install the package of that version, or build it: make build-python \
                             PYTHON={}/bin/python",
                            group.title(),
                            home.display(),
                            folder.display(),
                            home.display()
                        ),
                    );
                }
            }
        }
    }
}

enum Trouble {
    Missing,
    NoPython,
    NoBase(PathBuf),
    Unseen(PathBuf),
}

impl Trouble {
    fn sentence(&self, home: &Path, group: &Group) -> String {
        let (home, title) = (home.display(), group.title());
        match self {
            Self::Missing => format!("the Python home of {title}, {home}, does not exist"),
            Self::NoPython => format!(
                "the Python home of {title}, {home}, is neither a virtual environment (it has no pyvenv.cfg) nor an \
                 installation (it has no lib/python3.x)"
            ),
            Self::NoBase(base) => format!(
                "the virtual environment of {title}, {home}, was made by a Python in {}, which does not exist any \
                 longer; make the environment anew with python3 -m venv --upgrade {home}",
                base.display()
            ),
            Self::Unseen(path) => format!("{}: this user may not look at it", path.display()),
        }
    }
}

/// The version of the Python, as in `3.11`.
fn look(home: &Path) -> Result<String, Trouble> {
    if let Err(why) = std::fs::metadata(home) {
        return Err(match why.kind() {
            ErrorKind::PermissionDenied => Trouble::Unseen(home.to_owned()),
            _ => Trouble::Missing,
        });
    }
    let settings = std::fs::read_to_string(home.join("pyvenv.cfg")).unwrap_or_default();
    let value = |name: &str| {
        let pairs = settings.lines().filter_map(|line| line.split_once('='));
        let found = pairs.into_iter().find(|(key, _)| key.trim() == name);
        found.map(|(_, value)| value.trim().to_owned())
    };
    if let Some(base) = value("home").map(PathBuf::from)
        && std::fs::metadata(&base).is_err_and(|why| why.kind() == ErrorKind::NotFound)
    {
        return Err(Trouble::NoBase(base));
    }
    let written = value("version_info").or_else(|| value("version"));
    let minor = |text: &str| {
        let mut numbers = text.split('.');
        Some(format!("{}.{}", numbers.next()?, numbers.next()?))
    };
    written.as_deref().and_then(minor).or_else(|| of_library(home)).ok_or(Trouble::NoPython)
}

/// That of the folder lib/python3.x.
fn of_library(home: &Path) -> Option<String> {
    let entries = std::fs::read_dir(home.join("lib")).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("python").map(str::to_owned)).find(|version| {
        version.split_once('.').is_some_and(|(major, minor)| {
            major == "3" && minor.trim_end_matches('t').parse::<u32>().is_ok()
        })
    })
}

/// A program wsgi-daemon-3.11, or an extension wsgi_host.cpython-311….so.
fn has_program(folder: &Path, version: &str) -> bool {
    let digits = version.replace('.', "");
    let names = [format!("wsgi-daemon-{version}"), format!("wsgi_host.cpython-{digits}")];
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).any(|name| {
        names.iter().any(|wanted| {
            name.strip_prefix(wanted.as_str())
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_that_are_missing_or_without_a_program_are_told() {
        let root = std::env::temp_dir().join(format!("doctor-homes-{}", std::process::id()));
        for folder in ["old", "empty", "new/lib/python3.99", "module"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("old/pyvenv.cfg"), "home = /nowhere/bin\nversion = 3.8.1\n")
            .unwrap();
        std::fs::write(root.join("module/wsgi-daemon-3.9"), "").unwrap();
        let said = |home: &str| {
            let line = format!("WSGIDaemonProcess a python-home={}", root.join(home).display());
            let mut server = Server::of(&line, &["wsgi"]);
            server.files.push(("wsgi".to_owned(), root.join("module/mod_wsgi_rs.so")));
            let mut report = Report::default();
            check(&server, &mut report);
            report.sentences().join("; ")
        };
        let found = ["gone", "old", "empty", "new"].map(said);
        std::fs::write(root.join("module/wsgi_host.cpython-399-x86_64-linux-gnu.so"), "").unwrap();
        let served = said("new");
        std::fs::remove_dir_all(&root).unwrap();
        for (sentence, part) in found.iter().zip([
            "does not exist",
            "was made by a Python in /nowhere/bin",
            "is neither a virtual environment",
            "has Python 3.99",
        ]) {
            assert!(sentence.contains(part), "{sentence}");
        }
        assert_eq!(served, "");
    }
}
