//! Starting and finalising CPython in this process (PEP 587).

use super::FREE_THREADED;
use super::extension::RunningPython;
use super::interpreter::InterpreterHandle;
use super::thread_state::ThreadState;
use pyo3_ffi as ffi;
use std::ffi::{CStr, CString, OsStr, c_ulong};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The configuration of CPython (PEP 587).
#[derive(Clone, Debug, Default)]
pub(crate) struct PythonConfig {
    /// The program whose installation is used: `<venv>/bin/python`, or the interpreter itself.
    pub(crate) program_name: Option<PathBuf>,
    /// `PYTHONHOME`: a prefix with a standard library.
    pub(crate) home: Option<PathBuf>,
    /// Whether `.pyc` files are written.
    pub(crate) write_bytecode: bool,
    /// `-O` level.
    pub(crate) optimization_level: u8,
    /// `-W` options.
    pub(crate) warnings: Vec<String>,
    /// Run without the lock, where this Python is built for it.
    pub(crate) free_threading: bool,
    /// The locale has been set already; whether the UTF-8 mode is on, unless the environment says otherwise.
    pub(crate) locale_utf8_mode: Option<bool>,
    /// A fixed seed for `hash(str)`; `None` leaves Python's own choice.
    pub(crate) hash_seed: Option<HashSeed>,
}

/// The seed of `hash(str)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashSeed {
    /// A random one in each process; `PYTHONHASHSEED` is ignored.
    Random,
    /// This one; 0 switches randomisation off.
    Fixed(u32),
}

/// Why CPython did not start, in its own words.
#[derive(Debug)]
pub(crate) struct PythonFailure(String);

impl fmt::Display for PythonFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Starts CPython in this thread, which is the main thread of the process from Python's view, and
/// leaves it detached. The handle is that of the main interpreter.
pub(crate) fn initialize(config: &PythonConfig) -> Result<InterpreterHandle, PythonFailure> {
    super::open_code::install();
    // SAFETY: `raw` is initialised by PyConfig_InitPythonConfig before anything reads it, cleared on
    // every way out, and lives on this stack frame throughout. Nothing of CPython has run yet, so
    // no lock is needed.
    unsafe {
        if let Some(utf8_mode) = config.locale_utf8_mode {
            preinitialize(utf8_mode)?;
        }
        let mut raw = std::mem::zeroed::<ffi::PyConfig>();
        ffi::PyConfig_InitPythonConfig(&raw mut raw);
        let started = start(&mut raw, config);
        ffi::PyConfig_Clear(&raw mut raw);
        started?;
        let state = ThreadState::detach_current()
            .ok_or_else(|| PythonFailure("no thread state after the start".to_owned()))?;
        state.note_only();
        Ok(InterpreterHandle::of(state))
    }
}

/// Takes over a CPython that its own program has started, in the thread that has started it. The handle is that of the
/// main interpreter.
pub(crate) fn adopt(python: RunningPython) -> InterpreterHandle {
    let state = python.into_state();
    state.note_only();
    InterpreterHandle::of(state)
}

/// Has CPython leave locale and environment of the process as they are: other threads may use them.
///
/// # Safety
/// CPython has not been started.
unsafe fn preinitialize(utf8_mode: bool) -> Result<(), PythonFailure> {
    // SAFETY: `raw` is initialised by PyPreConfig_InitPythonConfig before anything reads it; nothing of CPython has run
    // yet, so no lock is needed.
    unsafe {
        let mut raw = std::mem::zeroed::<ffi::PyPreConfig>();
        ffi::PyPreConfig_InitPythonConfig(&raw mut raw);
        raw.parse_argv = 0;
        raw.configure_locale = 0;
        raw.coerce_c_locale = 0;
        raw.coerce_c_locale_warn = 0;
        // What is set here is stronger than the environment.
        let is_asked = std::env::var_os("PYTHONUTF8").is_none_or(|value| value.is_empty());
        if utf8_mode && is_asked {
            raw.utf8_mode = 1;
        }
        check(ffi::Py_PreInitialize(&raw const raw))
    }
}

/// # Safety
/// `raw` has been initialised, and CPython has not been started.
unsafe fn start(raw: &mut ffi::PyConfig, config: &PythonConfig) -> Result<(), PythonFailure> {
    raw.parse_argv = 0;
    // Apache's children handle signals themselves; SIGPIPE and SIGXFSZ they already ignore.
    raw.install_signal_handlers = 0;
    raw.write_bytecode = config.write_bytecode.into();
    raw.optimization_level = config.optimization_level.into();
    match config.hash_seed {
        None => {}
        Some(HashSeed::Fixed(seed)) => {
            raw.use_hash_seed = 1;
            raw.hash_seed = c_ulong::from(seed);
        }
        Some(HashSeed::Random) => raw.use_hash_seed = 0,
    }
    // SAFETY: `raw` has been initialised, as the caller promises; every string is NUL-terminated and copied by CPython.
    unsafe {
        if let Some(name) = &config.program_name {
            set(raw, |raw| &raw mut raw.program_name, name.as_os_str())?;
        }
        if let Some(home) = &config.home {
            set(raw, |raw| &raw mut raw.home, home.as_os_str())?;
        }
        let argv = [c"mod_wsgi".as_ptr().cast_mut()];
        check(ffi::PyConfig_SetBytesArgv(raw, 1, argv.as_ptr().cast_mut().cast()))?;
        // Set like `-W` options: before those of PYTHONWARNINGS are added.
        for warning in &config.warnings {
            append(&raw mut raw.warnoptions, warning)?;
        }
        if FREE_THREADED {
            // As by `-X gil`, which is stronger than PYTHON_GIL. Left alone, extensions would decide.
            let gil = if config.free_threading { "gil=0" } else { "gil=1" };
            append(&raw mut raw.xoptions, gil)?;
        }
        check(ffi::Py_InitializeFromConfig(raw))
    }
}

/// # Safety
/// As for [`start`].
unsafe fn set(
    raw: &mut ffi::PyConfig,
    field: impl FnOnce(&mut ffi::PyConfig) -> *mut *mut libc::wchar_t,
    value: &OsStr,
) -> Result<(), PythonFailure> {
    let text = CString::new(value.as_bytes())
        .map_err(|_| PythonFailure("a path with a NUL byte".to_owned()))?;
    let config: *mut ffi::PyConfig = raw;
    // SAFETY: `field` points into `raw`; CPython decodes and copies the text.
    unsafe {
        check(ffi::PyConfig_SetBytesString(config, field(&mut *config).cast(), text.as_ptr()))
    }
}

/// # Safety
/// As for [`start`]; `list` is one of the configuration.
unsafe fn append(list: *mut ffi::PyWideStringList, option: &str) -> Result<(), PythonFailure> {
    let wide: Vec<libc::wchar_t> =
        option.chars().map(|c| c as libc::wchar_t).chain(std::iter::once(0)).collect();
    // SAFETY: `list` is of an initialised configuration, as the caller promises; a NUL-terminated wide string, copied by CPython.
    unsafe { check(PyWideStringList_Append(list, wide.as_ptr())) }
}

unsafe extern "C" {
    /// In CPython since 3.8 (PEP 587), missing from the bindings.
    fn PyWideStringList_Append(
        list: *mut ffi::PyWideStringList,
        item: *const libc::wchar_t,
    ) -> ffi::PyStatus;
}

/// # Safety
/// `status` has just been returned by CPython.
unsafe fn check(status: ffi::PyStatus) -> Result<(), PythonFailure> {
    // SAFETY: the texts of a status are static strings or null.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        let text = if status.err_msg.is_null() {
            "unknown cause".to_owned()
        } else {
            CStr::from_ptr(status.err_msg).to_string_lossy().into_owned()
        };
        Err(PythonFailure(text))
    }
}

/// The version of the Python library that runs, such as `3.11.2`.
pub(crate) fn version() -> &'static str {
    // SAFETY: a string that is there as long as the process, whether Python has been started or not.
    let text = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) };
    text.to_str().ok().and_then(|text| text.split(' ').next()).unwrap_or_default()
}
