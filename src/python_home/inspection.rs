//! The inspection of one installation, or of directories beside it, by a process of the user that reads them. It must
//! never know what the result is for.

use super::error::HomeError;
use super::settings::Settings;
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::{Credentials, Inspector};

/// The versions whose library is looked for where none of those that are installed is there: `3.MINOR`.
const MINOR_VERSIONS: std::ops::Range<u32> = 6..40;

/// The user that must be able to read the files.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups, where they are not those that the system has for the user.
    pub(crate) groups: Option<Vec<u32>>,
    /// The root directory of the user's processes.
    pub(crate) chroot: Option<PathBuf>,
}

impl Reader {
    /// Whom a process becomes that reads for this user; only root can become another one.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        let chroot = self.chroot.as_ref();
        let chroot = chroot.and_then(|root| CString::new(root.as_os_str().as_bytes()).ok());
        let own = || Credentials::new(self.uid, self.gid, self.groups.as_deref());
        sys::is_root().then(|| Credentials { chroot, ..own() })
    }
}

/// An installation that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory to start Python with.
    pub(crate) home: PathBuf,
    /// `X.Y` of its Python.
    pub(crate) version: Option<String>,
    settings: Option<Settings>,
}

/// Questions about an installation that `named` names: how the administrator named it, a subject for sentences.
pub(crate) struct Inspection<'a> {
    named: &'a str,
    reader: &'a Reader,
    home: &'a Path,
    inspector: Inspector,
}

impl<'a> Inspection<'a> {
    /// Starts the process that examines `home` for `reader`. All answers have to come within `limit`.
    ///
    /// # Errors
    /// [`HomeError::Inaccessible`] where there cannot be such a process.
    pub(crate) fn start(
        named: &'a str,
        home: &'a Path,
        reader: &'a Reader,
        limit: Duration,
    ) -> Result<Self, HomeError> {
        match Inspector::start(reader.credentials().as_ref(), limit) {
            Ok(inspector) => Ok(Self { named, reader, home, inspector }),
            Err(why) => {
                Err(HomeError::Inaccessible { named: named.to_owned(), home: home.to_owned(), why })
            }
        }
    }

    /// Finds out which installation the home is: `…/bin/python` stands for the directory that contains `bin`. Of
    /// several versions the first of `preferred` counts.
    ///
    /// # Errors
    /// What keeps it from being one.
    pub(crate) fn find(&mut self, preferred: &[&str]) -> Result<Found, HomeError> {
        let parent = self.home.parent().unwrap_or(self.home);
        self.enter_all(self.named, parent)?;
        let mode = self.inspector.mode(self.home).map_err(|why| self.inaccessible(why))?;
        let home = match normalised(self.home, mode) {
            Some(home) => home,
            None => {
                return Err(HomeError::NotADirectory { named: self.named(), home: self.home() });
            }
        };
        self.enter_all(self.named, home)?;
        let settings = match self.inspector.content(&home.join("pyvenv.cfg")) {
            Ok(content) => Some(Settings::new(&content)),
            Err(why) if why.kind() == ErrorKind::NotFound => None,
            Err(why) if why.kind() == ErrorKind::TimedOut => return Err(self.inaccessible(why)),
            Err(why) => {
                return Err(HomeError::Settings { named: self.named(), home: self.home(), why });
            }
        };
        let version = match &settings {
            Some(settings) => settings.version().map(|version| {
                // A free-threaded Python shows in the name of the library's directory, not in the settings.
                let free_threaded = home.join(format!("lib/python{version}t"));
                let suffix = if self.inspector.is_directory(&free_threaded) { "t" } else { "" };
                version + suffix
            }),
            None => self.version_of_library(home, preferred),
        };
        Ok(Found { home: home.to_owned(), version, settings })
    }

    /// Checks an installation for Python `version` (such as `3.11`). A virtual environment whose base cannot be read
    /// works all the same where Python finds its library in one of `prefixes`: then there is a warning.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(
        &mut self,
        found: &Found,
        version: &str,
        prefixes: &[&Path],
    ) -> Result<Option<String>, HomeError> {
        let Some(settings) = &found.settings else {
            return if self.has_library(&found.home, version) {
                Ok(None)
            } else {
                let (named, home, version) = (self.named(), self.home(), version.to_owned());
                Err(HomeError::NoPython { named, home, version })
            };
        };
        if let Some(theirs) = found.version.as_deref().filter(|theirs| *theirs != version) {
            let (theirs, version) = (theirs.to_owned(), version.to_owned());
            let (named, home) = (self.named(), self.home());
            return Err(HomeError::OtherVersion { named, home, theirs, version });
        }
        let Some(base) = settings.base() else { return Ok(None) };
        let shown = found.home.display();
        let named =
            format!("{} names '{shown}', a virtual environment of a Python that", self.named);
        let why = match self.enter_all(&named, base) {
            Ok(()) => return Ok(None),
            Err(why @ HomeError::Unreadable { .. }) => why,
            Err(why) => return Err(why),
        };
        let mut libraries = prefixes.iter().map(|it| it.join(format!("lib/python{version}")));
        match libraries.find(|it| self.inspector.may_read(&it.join("os.py"))) {
            Some(library) => Ok(Some(format!(
                "{why}; Python takes its own library from '{}' instead",
                library.display()
            ))),
            None => Err(why),
        }
    }

    /// Whether a prefix has the standard library of Python `version`. Its directory alone is not enough: a virtual
    /// environment has one, too, and `/usr/local` of Debian.
    fn has_library(&mut self, home: &Path, version: &str) -> bool {
        let archive = home.join(format!("lib/python{}.zip", version.replace('.', "")));
        ["lib", "lib64"].into_iter().any(|lib| {
            let library = home.join(lib).join(format!("python{version}"));
            ["os.py", "os.pyc"].into_iter().any(|name| self.inspector.may_read(&library.join(name)))
        }) || self.inspector.is_file(&archive)
    }

    /// The program of an installation of Python `version` that the reader can run: what is called as in a terminal.
    /// In a prefix, a name that does not say the version may be another Python's: it counts where `any_name` does.
    pub(crate) fn program(
        &mut self,
        found: &Found,
        version: &str,
        any_name: bool,
    ) -> Option<PathBuf> {
        let of_version = format!("python{version}");
        let names: &[&str] = match (&found.settings, any_name) {
            (Some(_), _) => &["python", "python3", &of_version],
            (None, true) => &[&of_version, "python3", "python"],
            (None, false) => &[&of_version],
        };
        let mut programs = names.iter().map(|name| found.home.join("bin").join(name));
        programs.find(|program| self.may_execute(program))
    }

    /// Whether the reader can run the program.
    pub(crate) fn may_execute(&mut self, program: &Path) -> bool {
        self.inspector.may_execute(program)
    }

    /// Checks that the reader can enter the home, and each directory above it.
    ///
    /// # Errors
    /// [`HomeError::Unreadable`].
    #[cfg(feature = "embedded")]
    pub(crate) fn check_entry(&mut self) -> Result<(), HomeError> {
        self.enter_all(self.named, self.home)
    }

    /// Those of `paths` that do not exist.
    pub(crate) fn missing(&mut self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let is_missing = |path: &&PathBuf| {
            let found = self.inspector.mode(path).map_err(|why| why.kind());
            matches!(found, Err(ErrorKind::NotFound | ErrorKind::NotADirectory))
        };
        paths.iter().filter(is_missing).cloned().collect()
    }

    /// The version of a library in a prefix, by the directories that are there.
    fn version_of_library(&mut self, home: &Path, preferred: &[&str]) -> Option<String> {
        let others = MINOR_VERSIONS.rev().flat_map(|minor| ["", "t"].map(|it| (minor, it)));
        let others = others.map(|(minor, suffix)| format!("3.{minor}{suffix}"));
        let mut versions = preferred.iter().map(|&it| it.to_owned()).chain(others);
        versions.find(|version| {
            self.inspector.is_file(&home.join(format!("lib/python{version}/os.py")))
        })
    }

    /// Checks that the reader can enter the directory and each above it. What does not exist is none of these.
    fn enter_all(&mut self, named: &str, directory: &Path) -> Result<(), HomeError> {
        let mut above: Vec<&Path> = directory.ancestors().collect();
        above.reverse();
        for path in above {
            match self.inspector.enter(path) {
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::PermissionDenied => {
                    return Err(HomeError::Unreadable {
                        named: named.to_owned(),
                        directory: directory.to_owned(),
                        user: sys::user_name(self.reader.uid),
                        path: path.to_owned(),
                        mode: self.inspector.mode(path).unwrap_or(0) & 0o7777,
                    });
                }
                Err(why)
                    if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    return Ok(());
                }
                Err(why) => return Err(self.inaccessible(why)),
            }
        }
        Ok(())
    }

    fn named(&self) -> String {
        self.named.to_owned()
    }

    fn home(&self) -> PathBuf {
        self.home.to_owned()
    }

    fn inaccessible(&self, why: io::Error) -> HomeError {
        match why.kind() {
            ErrorKind::TimedOut => HomeError::NoAnswer { named: self.named(), home: self.home() },
            _ => HomeError::Inaccessible { named: self.named(), home: self.home(), why },
        }
    }
}

/// The directory that `home` stands for, whose mode this is; `None` where it stands for none.
pub(crate) fn normalised(home: &Path, mode: u32) -> Option<&Path> {
    let is_program =
        home.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"));
    match mode & libc::S_IFMT {
        libc::S_IFDIR => Some(home),
        libc::S_IFREG if is_program => {
            home.parent()?.ends_with("bin").then(|| home.parent()?.parent())?
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const LIMIT: Duration = Duration::from_secs(10);

    fn nobody() -> Reader {
        Reader { uid: 65_534, gid: 65_534, groups: None, chroot: None }
    }

    /// A directory for the test that all users can enter.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mod_wsgi_rs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn check(home: &Path, prefixes: &[&Path]) -> Result<Option<String>, HomeError> {
        let reader = nobody();
        let mut inspection = Inspection::start("WSGIPythonHome", home, &reader, LIMIT)?;
        let found = inspection.find(&["3.11"])?;
        inspection.check(&found, "3.11", prefixes)
    }

    #[test]
    fn a_home_is_a_virtual_environment_of_our_version_or_a_prefix() {
        let home = scratch("home");
        let refusal = |home: &Path| check(home, &[]).unwrap_err().to_string();
        assert!(refusal(&home).contains("neither a virtual environment"));
        fs::create_dir_all(home.join("lib/python3.11/site-packages")).unwrap();
        assert!(refusal(&home).contains("neither a virtual environment"));
        fs::write(home.join("lib/python3.11/os.py"), "").unwrap();
        assert!(check(&home, &[]).is_ok());
        fs::write(home.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n").unwrap();
        assert!(check(&home, &[]).is_ok());
        fs::write(home.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.13.0\n").unwrap();
        assert!(
            refusal(&home).contains("for Python 3.13, but this module was built for Python 3.11")
        );
        fs::create_dir_all(home.join("lib/python3.11t")).unwrap();
        fs::write(home.join("pyvenv.cfg"), "home = /usr/bin\nversion_info = 3.11.2\n").unwrap();
        assert!(refusal(&home).contains("for Python 3.11t, but this module"));
        assert!(refusal(&home.join("none")).contains("cannot be looked at"));
        assert!(refusal(&home.join("pyvenv.cfg")).contains("is not a directory"));
        fs::write(home.join("pyvenv.cfg"), vec![b'x'; sys::MAX_CONTENT + 1]).unwrap();
        assert!(refusal(&home).contains("whose pyvenv.cfg cannot be read: it is longer than"));
        fs::remove_file(home.join("pyvenv.cfg")).unwrap();
        fs::create_dir(home.join("pyvenv.cfg")).unwrap();
        assert!(refusal(&home).contains("pyvenv.cfg cannot be read: it is not a regular file"));
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn a_program_stands_for_its_installation_and_its_library_tells_the_version() {
        let home = scratch("program");
        for folder in ["bin", "lib/python3.11", "lib/python3.9"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        for file in ["bin/python3", "lib/python3.11/os.py", "lib/python3.9/os.py"] {
            fs::write(home.join(file), "").unwrap();
        }
        let reader = nobody();
        let find = |home: &Path, preferred: &[&str]| {
            Inspection::start("it", home, &reader, LIMIT).unwrap().find(preferred).unwrap()
        };
        let found = find(&home.join("bin/python3"), &[]);
        assert_eq!((found.home, found.version.as_deref()), (home.clone(), Some("3.11")));
        assert_eq!(find(&home, &["3.8", "3.9"]).version.as_deref(), Some("3.9"));
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn a_home_must_be_open_to_the_user_and_its_base_only_without_another_library() {
        if !sys::is_root() {
            eprintln!("skipped: only root can look as another user");
            return;
        }
        let folder = scratch("closed");
        let (closed, venv, prefix) = (folder.join("c"), folder.join("venv"), folder.join("p"));
        for it in [closed.join("bin"), venv.clone(), prefix.join("lib/python3.11")] {
            fs::create_dir_all(it).unwrap();
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let why = check(&closed.join("bin"), &[]).unwrap_err().to_string();
        assert!(why.contains("cannot read") && why.contains("0700"), "{why}");
        let settings = format!("home = {}/bin\nversion = 3.11.2\n", closed.display());
        fs::write(venv.join("pyvenv.cfg"), settings).unwrap();
        let why = check(&venv, &[&prefix]).unwrap_err().to_string();
        assert!(why.contains("a virtual environment of a Python that lies in"), "{why}");
        // As long as that of CPython, which is longer than any settings.
        fs::write(prefix.join("lib/python3.11/os.py"), vec![b'#'; 40_000]).unwrap();
        let warning = check(&venv, &[&prefix]).unwrap().unwrap();
        assert!(warning.contains("cannot read") && warning.contains("instead"), "{warning}");
        fs::remove_dir_all(folder).unwrap();
    }
}
