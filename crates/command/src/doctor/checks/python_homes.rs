//! The Pythons: each home exists, its base installation too, and for its version there is a program or an extension.

use crate::doctor::findings::Report;
use crate::doctor::groups::{Group, Script};
use crate::doctor::server::Server;
use crate::text_file;
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
                let beside = beside.filter(|_| !group.name.is_empty());
                if let Some(sentence) =
                    beside.and_then(|it| trouble_beside(it, &group, home, &version))
                {
                    report.error(CHECK, sentence);
                }
            }
        }
    }
}

/// What keeps a process group from running the Python of this version in `home`, with what is installed in `folder`.
fn trouble_beside(folder: &Path, group: &Group, home: &Path, version: &str) -> Option<String> {
    let (title, place) = (group.title(), home.display());
    let Beside { program, extension, manager } = Beside::of(folder, version)?;
    let folder = folder.display();
    if program {
        return None;
    }
    if !extension {
        return Some(format!(
            "{title} has Python {version} ({place}), for which {folder} has neither wsgi-daemon-{version} nor an \
             extension; install the package of that version, or build it: make build-python PYTHON={place}/bin/python"
        ));
    }
    if !manager {
        return Some(format!(
            "{title} needs the program wsgi-daemon-manager, which {folder} lacks beside the extension for Python \
             {version}: the installation is incomplete; install the module again"
        ));
    }
    let names = ["python".to_owned(), "python3".to_owned(), format!("python{version}")];
    let mut programs = names.iter().map(|name| home.join("bin").join(name));
    // What another user owns may not show.
    let unseen = |path: &Path| {
        std::fs::metadata(path).is_err_and(|why| why.kind() == ErrorKind::PermissionDenied)
    };
    (!programs.any(|path| path.is_file() || unseen(&path))).then(|| {
        let link = std::fs::read_link(home.join("bin/python")).ok();
        let why = link.map_or_else(String::new, |to| {
            format!(", but a link to {}, which does not exist", to.display())
        });
        format!(
            "{title} runs the Python of {place}, which has no program bin/python{why}; make the environment anew: \
             python{version} -m venv --clear {place}"
        )
    })
}

enum Trouble {
    Missing,
    NoPython,
    NoBase(PathBuf),
    /// The folder `lib/python3.x` is there, and not what has to be in it.
    Half(PathBuf),
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
            Self::Half(library) => format!(
                "the Python home of {title}, {home}, is half an installation: {} has no os.py; install that Python \
                 again, or take the home out of the configuration",
                library.display()
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
    let settings = text_file::text(&home.join("pyvenv.cfg")).unwrap_or_default();
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
    if let Some(version) = written.as_deref().and_then(minor) {
        // A free-threaded Python shows in the name of the library's directory, not in the settings.
        let free_threaded = home.join(format!("lib/python{version}t")).is_dir();
        return Ok(if free_threaded { version + "t" } else { version });
    }
    let versions = of_library(home);
    let library = |version: &String| home.join(format!("lib/python{version}"));
    let is_whole = |version: &&String| {
        !settings.is_empty()
            || ["os.py", "os.pyc"].iter().any(|it| library(version).join(it).exists())
    };
    match (versions.iter().find(is_whole), versions.first()) {
        (Some(version), _) => Ok(version.clone()),
        (None, Some(version)) => Err(Trouble::Half(library(version))),
        (None, None) => Err(Trouble::NoPython),
    }
}

/// Those of the folders lib/python3.x.
fn of_library(home: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(home.join("lib")) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut versions: Vec<String> = names
        .filter_map(|name| name.strip_prefix("python").map(str::to_owned))
        .filter(|version| {
            version.split_once('.').is_some_and(|(major, minor)| {
                major == "3" && minor.trim_end_matches('t').parse::<u32>().is_ok()
            })
        })
        .collect();
    versions.sort();
    versions
}

/// What is installed beside the module.
struct Beside {
    /// `wsgi-daemon-3.11`
    program: bool,
    /// `wsgi_host.cpython-311….so`
    extension: bool,
    /// `wsgi-daemon-manager`, which an extension needs.
    manager: bool,
}

impl Beside {
    /// That for this version; `None` where the folder cannot be looked at.
    fn of(folder: &Path, version: &str) -> Option<Self> {
        let digits = version.replace('.', "");
        let entries = std::fs::read_dir(folder).ok()?;
        let names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        Some(Self {
            program: has(&format!("wsgi-daemon-{version}")),
            extension: names.iter().any(|name| {
                name.strip_prefix(&format!("wsgi_host.cpython-{digits}-"))
                    .is_some_and(|rest| rest.ends_with(".so"))
            }),
            manager: has("wsgi-daemon-manager"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of homes and of a module, which the test removes.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str) -> Self {
            let root =
                std::env::temp_dir().join(format!("doctor-homes-{name}-{}", std::process::id()));
            std::fs::create_dir_all(root.join("module")).unwrap();
            Self(root)
        }

        fn write(&self, name: &str, text: &str) {
            let file = self.0.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }

        /// What is said of a group with that home.
        fn said(&self, home: &str) -> String {
            let line = format!("WSGIDaemonProcess a python-home={}", self.0.join(home).display());
            let mut server = Server::of(&line, &["wsgi"]);
            server.files.push(("wsgi".to_owned(), self.0.join("module/mod_wsgi_rs.so")));
            let mut report = Report::default();
            check(&server, &mut report);
            report.sentences().join("; ")
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn homes_that_are_missing_or_without_a_program_are_told() {
        let machine = Machine::new("missing");
        machine.write("old/pyvenv.cfg", "home = /nowhere/bin\nversion = 3.8.1\n");
        machine.write("empty/file", "");
        machine.write("half/lib/python3.99/site-packages/file", "");
        machine.write("new/lib/python3.99/os.py", "");
        machine.write("new/lib/python3.98/site-packages/file", "");
        machine.write("new/bin/python3.99", "");
        machine.write("module/wsgi-daemon-3.9", "");
        for (home, part) in [
            ("gone", "does not exist"),
            ("old", "was made by a Python in /nowhere/bin"),
            ("empty", "is neither a virtual environment"),
            ("half", "is half an installation: "),
            ("new", "has Python 3.99"),
        ] {
            let sentence = machine.said(home);
            assert!(sentence.contains(part), "{home}: {sentence}");
        }
        machine.write("module/wsgi-daemon-3.99", "");
        assert_eq!(machine.said("new"), "");
    }

    #[test]
    fn half_an_installation_of_the_module_or_of_an_environment_is_told() {
        let machine = Machine::new("half");
        machine.write("venv/pyvenv.cfg", "home = /\nversion = 3.99.1\n");
        machine.write("module/wsgi_host.cpython-399-x86_64-linux-gnu.so", "");
        let without_manager = machine.said("venv");
        machine.write("module/wsgi-daemon-manager", "");
        let without_program = machine.said("venv");
        std::fs::create_dir_all(machine.0.join("venv/bin")).unwrap();
        std::os::unix::fs::symlink("/usr/bin/python3.99", machine.0.join("venv/bin/python"))
            .unwrap();
        let dangling = machine.said("venv");
        machine.write("venv/bin/python3", "");
        assert_eq!(machine.said("venv"), "");
        assert!(
            without_manager.contains("needs the program wsgi-daemon-manager"),
            "{without_manager}"
        );
        assert!(without_program.contains("has no program bin/python;"), "{without_program}");
        assert!(
            dangling.contains("a link to /usr/bin/python3.99, which does not exist"),
            "{dangling}"
        );
        std::fs::create_dir_all(machine.0.join("venv/lib/python3.99t")).unwrap();
        assert!(machine.said("venv").contains("has Python 3.99t"));
    }
}
