//! WSGI scripts: loading a file as a module, and loading it again when it has changed
//! (mod_wsgi's behaviour, reference section 2.10).
#![forbid(unsafe_code)]

use crate::cpython::{
    Attached, Exception, ExceptionKind, Object, Persistent, Result, open_regular,
};
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use wsgi::FileVersion;

/// The scripts one interpreter has loaded.
pub(crate) struct Scripts {
    loaded: Mutex<BTreeMap<Box<[u8]>, Loaded>>,
    /// Held while a script is read and run, and while a factory makes its application.
    loading: Mutex<()>,
    reload_required: Persistent,
}

struct Loaded {
    modified: Option<FileVersion>,
    dict: Persistent,
    /// Whether it has the callable that a request wanted; `None`: no request has looked yet.
    usable: Option<bool>,
}

/// What becomes of a loaded script whose file has changed since (`WSGIScriptReloading`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloading {
    /// It stays as it is.
    Never,
    /// It is loaded again.
    InPlace,
    /// It stays, and [`Replacement`] says so: the process is replaced. Without the callable that was wanted it is loaded
    /// again.
    ByReplacement,
}

impl Reloading {
    /// In a process that is not replaced: `on` says whether a script is loaded again.
    pub const fn in_place(on: bool) -> Self {
        if on { Self::InPlace } else { Self::Never }
    }
}

/// A script file, and how it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct ScriptFile<'a> {
    /// Absolute path of the file.
    pub path: &'a [u8],
    /// The version of the file, as the caller has just read it; `None` if `stat` failed.
    pub modified: Option<FileVersion>,
    /// What becomes of it once its file has changed.
    pub reloading: Reloading,
    /// Whether names that differ in case only are different files (`WSGICaseSensitivity`).
    pub case_sensitive: bool,
    /// Where a script that asks for its own reload (`reload_required`), or has changed, is not loaded again, because its
    /// process is replaced.
    pub replacement: Option<&'a Replacement>,
}

/// Whether the new code of a script, which has asked for its own reload or has changed, is to come with another process.
#[derive(Debug, Default)]
pub struct Replacement {
    requested: AtomicBool,
    /// The version of the file that was loaded, under [`Reloading::ByReplacement`].
    loaded: OnceLock<Option<FileVersion>>,
    /// The request waits for the new process: the application is not called.
    waits: bool,
}

impl Replacement {
    /// `waits`: a request for a script whose new code is to come is given back.
    pub const fn new(waits: bool) -> Self {
        Self { requested: AtomicBool::new(false), loaded: OnceLock::new(), waits }
    }

    /// Whether the process is to be replaced.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// The version of the script's file that this process has loaded, as read just before; `None` where it has loaded
    /// none, or is not asked ([`Reloading::ByReplacement`]).
    pub fn loaded_version(&self) -> Option<Option<FileVersion>> {
        self.loaded.get().copied()
    }

    fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether the application is not to be called.
    pub(crate) fn ends_request(&self) -> bool {
        self.waits && self.requested.load(Ordering::Relaxed)
    }
}

/// Why a script could not be loaded.
pub(crate) enum LoadError<'py> {
    /// The file could not be read.
    Read(io::Error),
    /// The file is no Python source.
    Compile(Exception<'py>),
    /// The file's code raised.
    Execute(Exception<'py>),
}

/// Whether a script is loaded for the first time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadKind {
    First,
    Again,
}

impl Scripts {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        let reload_required = Persistent::new(py.interned("reload_required")?);
        Ok(Self { loaded: Mutex::default(), loading: Mutex::default(), reload_required })
    }

    /// The module's dict, loaded now if need be. `announce` is called before the file is read, `report` with what
    /// `reload_required` raises. `asks`: the script's own `reload_required` is called.
    ///
    /// # Errors
    /// Why the script could not be loaded.
    pub(crate) fn module<'py>(
        &self,
        py: Attached<'py>,
        file: &ScriptFile<'_>,
        asks: bool,
        mut announce: impl FnMut(LoadKind),
        mut report: impl FnMut(&Exception<'py>),
    ) -> std::result::Result<Object<'py>, LoadError<'py>> {
        if let Some(dict) = self.current(py, file, asks, &mut report) {
            return Ok(dict);
        }
        let _loading = self.loading(py);
        // Another thread may have loaded it while this one waited.
        if let Some(dict) = self.current(py, file, asks, &mut report) {
            return Ok(dict);
        }
        let previous = self.table().remove(file.path);
        announce(if previous.is_some() { LoadKind::Again } else { LoadKind::First });
        if let Some(previous) = previous {
            previous.dict.clear(py);
        }
        let dict = load(py, file)?;
        let loaded = Persistent::new(dict.clone());
        let loaded = Loaded { modified: file.modified, dict: loaded, usable: None };
        note_version(file, &loaded);
        self.table().insert(file.path.into(), loaded);
        Ok(dict)
    }

    /// Waits until no script is loaded by another thread; none is as long as the guard is kept.
    pub(crate) fn loading(&self, py: Attached<'_>) -> MutexGuard<'_, ()> {
        match self.loading.try_lock() {
            Ok(guard) => guard,
            Err(_) => py.detached(|| self.loading.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// The module's dict as it is loaded now.
    pub(crate) fn loaded<'py>(
        &self,
        py: Attached<'py>,
        file: &ScriptFile<'_>,
    ) -> Option<Object<'py>> {
        self.table().get(file.path).map(|loaded| loaded.dict.get(py))
    }

    /// Notes whether a loaded script has the callable that a request wants. With one of two it is usable.
    pub(crate) fn note_usable(&self, file: &ScriptFile<'_>, usable: bool) {
        if let Some(loaded) = self.table().get_mut(file.path) {
            loaded.usable = Some(usable || loaded.usable == Some(true));
        }
    }

    /// The loaded module's dict, unless it has to be loaded (again).
    fn current<'py>(
        &self,
        py: Attached<'py>,
        file: &ScriptFile<'_>,
        asks: bool,
        report: &mut impl FnMut(&Exception<'py>),
    ) -> Option<Object<'py>> {
        let (dict, replacement) = {
            let table = self.table();
            let loaded = table.get(file.path)?;
            let has_changed =
                file.reloading != Reloading::Never && loaded.modified != file.modified;
            let in_place = file.reloading == Reloading::InPlace || loaded.usable == Some(false);
            let replacement = file.replacement.filter(|_| !in_place);
            if has_changed {
                replacement?.request();
            }
            note_version(file, loaded);
            (loaded.dict.get(py), replacement)
        };
        if (file.reloading != Reloading::Never || file.replacement.is_some()) && asks {
            match (reload_required(&dict, &self.reload_required.get(py), file), replacement) {
                (Ok(false), _) => {}
                (Ok(true), None) => return None,
                (Ok(true), Some(replacement)) => replacement.request(),
                (Err(raised), _) => report(&raised.take()),
            }
        }
        Some(dict)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Box<[u8]>, Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells which version of the file a request is served with, where it may be another than the one it came for.
fn note_version(file: &ScriptFile<'_>, loaded: &Loaded) {
    if let (Reloading::ByReplacement, Some(replacement)) = (file.reloading, file.replacement) {
        // A request has one script: the first value stays.
        let _ = replacement.loaded.set(loaded.modified);
    }
}

/// The result of the script's `reload_required(path)`, if it has one.
fn reload_required<'py>(
    dict: &Object<'py>,
    name: &Object<'py>,
    file: &ScriptFile<'_>,
) -> Result<'py, bool> {
    let py = dict.py();
    match dict.item(name)? {
        None => Ok(false),
        Some(function) => function.call([&py.path(file.path)?])?.is_true(),
    }
}

fn load<'py>(
    py: Attached<'py>,
    file: &ScriptFile<'_>,
) -> std::result::Result<Object<'py>, LoadError<'py>> {
    let source = py.detached(|| read(file.path)).map_err(LoadError::Read)?;
    let name = module_name(file);
    let compile = || {
        let compile = py.import(c"builtins")?.attribute(c"compile")?;
        let (source, path) = (py.bytes(&source)?, py.path(file.path)?);
        // Flags 0 and dont_inherit: the `__future__` imports of the running code do not affect the script.
        compile.call([&source, &path, &py.str("exec")?, &py.int(0)?, &py.bool(true)])
    };
    let code = compile().map_err(|raised| LoadError::Compile(raised.take()))?;
    let execute = || {
        let (name, path) = (py.str(&name)?, py.path(file.path)?);
        // Else the code would run in the module of an earlier load.
        py.modules().remove_item(&name)?;
        let module = py.execute_module(&name, &code, &path)?;
        let dict = module.module_dict()?;
        if let Some(version) = file.modified {
            dict.set_item(&py.interned("__mtime__")?, &py.int(version.modified)?)?;
        }
        Ok(dict)
    };
    execute().map_err(|raised: crate::cpython::Raised<'py>| LoadError::Execute(raised.take()))
}

fn read(path: &[u8]) -> io::Result<Vec<u8>> {
    let mut source = Vec::new();
    open_regular(Path::new(OsStr::from_bytes(path)))?.read_to_end(&mut source)?;
    Ok(source)
}

/// `_mod_wsgi_` and the MD5 of the path, by which applications recognise a script of mod_wsgi.
fn module_name(file: &ScriptFile<'_>) -> String {
    let digest = if file.case_sensitive {
        Md5::digest(file.path)
    } else {
        Md5::digest(file.path.to_ascii_lowercase())
    };
    let mut name = String::from("_mod_wsgi_");
    for byte in digest {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

impl<'py> LoadError<'py> {
    /// The HTTP status of a request that needed the script.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Read(why) if why.kind() == io::ErrorKind::NotFound => 404,
            Self::Read(why)
                if matches!(
                    why.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
                ) =>
            {
                403
            }
            Self::Read(_) | Self::Compile(_) | Self::Execute(_) => 500,
        }
    }

    /// The headline of the log records, with its code, and the exception behind it.
    pub(crate) fn headline(&self, script: &str) -> (String, Option<&Exception<'py>>) {
        match self {
            Self::Read(why) => (
                format!(
                    "WSGI0105: [script {script}] Failed to read WSGI script '{script}': {why}."
                ),
                None,
            ),
            Self::Compile(exception) => (
                format!("WSGI0105: [script {script}] Failed to compile WSGI script '{script}'."),
                Some(exception),
            ),
            Self::Execute(exception) if exception.is(ExceptionKind::SystemExit) => (
                format!(
                    "WSGI0107: [script {script}] SystemExit raised when executing WSGI script \
                     '{script}' as Python module."
                ),
                Some(exception),
            ),
            Self::Execute(exception) => (
                format!(
                    "WSGI0109: [script {script}] Failed to execute WSGI script '{script}' as Python \
                     module."
                ),
                Some(exception),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_the_digest_of_its_path() {
        let file = |path, case_sensitive| ScriptFile {
            path,
            modified: None,
            reloading: Reloading::InPlace,
            case_sensitive,
            replacement: None,
        };
        let name = module_name(&file(b"/srv/App.wsgi", true));
        assert_eq!(name, "_mod_wsgi_b179dfaccf658e8c2e9a96fb061fe0dd");
        assert_ne!(name, module_name(&file(b"/srv/app.wsgi", true)));
        assert_eq!(
            module_name(&file(b"/srv/App.wsgi", false)),
            module_name(&file(b"/srv/app.wsgi", false))
        );
    }
}
