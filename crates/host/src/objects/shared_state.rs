//! Modules of CPython, written in C, whose state is one for the whole process: exceptions, caches and types of the first
//! interpreter that imports one appear in all others. Each has a twin in Python, which CPython itself takes where the
//! C module cannot be imported; so all interpreters but the first one do not find it.

use crate::cpython::{Arguments, Attached, Class, ExceptionKind, Instance, Method, Object, Result};
use crate::log::SharedLog;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use wsgi::Level;

/// A module, and which interpreter has it: the number of its [`SharedStateFinder`], or 0.
struct SharedModule {
    name: &'static str,
    owner: AtomicU64,
    /// Whether the state is shared in the version of CPython that this crate is built for.
    is_shared: bool,
}

impl SharedModule {
    const fn new(name: &'static str, is_shared: bool) -> Self {
        Self { name, owner: AtomicU64::new(0), is_shared }
    }

    /// Whether the interpreter of this number has the module, from now on if none has.
    fn claim(&self, interpreter: u64) -> bool {
        let claimed =
            self.owner.compare_exchange(0, interpreter, Ordering::Relaxed, Ordering::Relaxed);
        claimed.map_or_else(|owner| owner == interpreter, |_| true)
    }
}

/// Of the process, as the state of the modules is.
static MODULES: [SharedModule; 3] = [
    SharedModule::new("_asyncio", cfg!(not(Py_3_12))),
    SharedModule::new("_decimal", cfg!(not(Py_3_13))),
    SharedModule::new("_zoneinfo", cfg!(not(Py_3_12))),
];
static NEXT_INTERPRETER: AtomicU64 = AtomicU64::new(1);

/// An entry of `sys.meta_path`, before all others, that finds nothing, and refuses what must not be found.
pub(crate) struct SharedStateFinder {
    interpreter: u64,
    /// The name of the application group, for log lines.
    group: String,
    log: SharedLog,
}

impl Class for SharedStateFinder {
    const NAME: &'static CStr = c"mod_wsgi.SharedStateFinder";
    const METHODS: &'static [Method<Self>] = &[Method { name: c"find_spec", call: find_spec }];
}

/// Keeps an interpreter that has just been made from modules whose state belongs to another one. `group` is the name of
/// its application group.
pub(crate) fn hide_shared_state<'py>(
    py: Attached<'py>,
    group: &str,
    log: &SharedLog,
) -> Result<'py, ()> {
    if !MODULES.iter().any(|module| module.is_shared) {
        return Ok(());
    }
    let interpreter = NEXT_INTERPRETER.fetch_add(1, Ordering::Relaxed);
    let modules = py.modules();
    for module in MODULES.iter().filter(|module| module.is_shared) {
        // A `.pth` file of the installation has imported it already.
        if modules.item(&py.str(module.name)?)?.is_some() && !module.claim(interpreter) {
            let name = module.name;
            let line = format!(
                "WSGI0211: the module {name} has been imported by site-packages before application \
                 group '{group}' began, and shares its state with other application groups of the \
                 process; give the application a process group of its own"
            );
            log.log(Level::Warning, line.as_bytes());
        }
    }
    let finder =
        SharedStateFinder { interpreter, group: group.to_owned(), log: SharedLog::clone(log) };
    let finder = py.class::<SharedStateFinder>()?.instantiate(finder)?;
    let Some(path) = py.sys_attribute(c"meta_path")? else { return Ok(()) };
    path.call_method(c"insert", [&py.int(0)?, &finder]).map(drop)
}

/// `find_spec(name, path=None, target=None)`.
fn find_spec<'py>(
    this: &Instance<'_, 'py, SharedStateFinder>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("find_spec", 1, 3)?;
    let py = this.py();
    let name = match arguments.get(0) {
        Some(name) if name.is_str() => name.to_text()?,
        _ => return Ok(py.none()),
    };
    let shared = MODULES.iter().find(|module| module.is_shared && module.name == name);
    if shared.is_none_or(|module| module.claim(this.interpreter)) {
        return Ok(py.none());
    }
    let group = &this.group;
    let line = format!(
        "application group '{group}' uses the twin in Python of the module {name}, whose state belongs \
         to another application group of this process"
    );
    this.log.log(Level::Info, line.as_bytes());
    Err(py.raise(ExceptionKind::Import, &format!("{name} belongs to another interpreter")))
}
