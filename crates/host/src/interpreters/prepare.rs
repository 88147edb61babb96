//! How an interpreter is prepared for applications (mod_wsgi's order, reference section 4.2).
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ClassObject, InterpreterHandle, Object, Persistent, Result};
use crate::failure;
use crate::gateway::environ::EnvironCache;
use crate::interpreters::child_signals::release_signals;
use crate::interpreters::fork_hint::tell_of_forks;
use crate::interpreters::forked_threads::name_main_threads_of_forks;
use crate::interpreters::gil_mode::GilMode;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::keys::InternedKeys;
use crate::interpreters::logging_levels::keep_levels;
use crate::interpreters::process_environment::ProcessEnvironment;
use crate::interpreters::script::Scripts;
use crate::interpreters::state::InterpreterState;
use crate::log::SharedLog;
use crate::objects::{
    Adapter, Auth, FUNCTION_NAMES, FileWrapper, Functions, Input, JsonSource, Log, Restricted,
    SignalIntercept, hide_shared_state,
};
use crate::observe::activity::Activity;
use crate::observe::events::Subscribers;
use crate::options::{HostOptions, InterpreterOptions};
use crate::telemetry::watch_garbage;
use crate::version::COMPATIBLE_VERSION;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wsgi::Level;

/// The number of the descriptor.
const STANDARD_ERROR: i64 = 2;

/// What an interpreter is prepared with.
pub(crate) struct Preparation<'a> {
    pub(crate) options: &'a HostOptions,
    pub(crate) gil_mode: GilMode,
    pub(crate) activity: &'a Arc<Activity>,
    pub(crate) log: &'a SharedLog,
    /// What `os.environ` begins with.
    pub(crate) environment: &'a ProcessEnvironment,
}

impl Preparation<'_> {
    /// Prepares an interpreter for the application group `name`. `None`, and lines in the log, when that fails.
    pub(crate) fn interpreter(&self, python: InterpreterHandle, name: &str) -> Option<Interpreter> {
        let attachment = python.attach()?;
        let state = self.state(attachment.py(), name);
        let state = state.map_err(|raised| {
            let exception = raised.take();
            let headline = "WSGI0188: exception raised while an interpreter was prepared";
            self.log.log(Level::Critical, headline.as_bytes());
            failure::traceback(&exception, &mut |level, line| self.log.log(level, line.as_bytes()));
        });
        drop(attachment);
        Some(Interpreter { name: name.to_owned(), python, state: state.ok()? })
    }

    /// Prepares the interpreter this thread is attached to.
    fn state<'py>(&self, py: Attached<'py>, name: &str) -> Result<'py, InterpreterState> {
        let Self { options, activity, log, .. } = self;
        let own = options.interpreter(name);
        // `threading` takes the thread that imports it first for the main thread.
        py.import(c"threading")?;
        self.environment.give(py)?;
        hide_shared_state(py, name, log)?;
        name_main_threads_of_forks(py)?;
        if let Some(interval) = self.gil_mode.switch_interval(own, name, log) {
            py.import(c"sys")?.call_method(c"setswitchinterval", [&py.float(interval)?])?;
        }
        if options.process_group.is_empty() {
            release_signals(py, name.is_empty())?;
        }
        let module = new_module(py, "mod_wsgi")?;
        inherit_package_path(py, &module)?;
        register(py, "mod_wsgi", &module)?;
        let log_class = py.class::<Log>()?;
        let json = own.json_records.then(|| {
            Arc::new(JsonSource {
                process_group: options.process_group.clone(),
                application_group: name.to_owned(),
            })
        });
        replace_streams(py, &log_class, options, own, log, json.as_ref())?;
        if let (false, Some(stderr)) = (name.is_empty(), py.sys_attribute(c"stderr")?) {
            tell_of_forks(py, &stderr)?;
        }
        prepare_process_attributes(py, options, own, log)?;
        let file_wrapper = py.class::<FileWrapper>()?;
        let request_timeout = py.exception_class(
            c"mod_wsgi.RequestTimeout",
            c"Raised in a request that takes longer than request-timeout.",
        )?;
        fill_module(py, &module, name, options, file_wrapper.object())?;
        module.set_attribute(c"RequestTimeout", &request_timeout)?;
        let subscribers = Arc::new(Subscribers::new(py)?);
        add_functions(py, &module, options, activity, &subscribers, log, own.json_records)?;
        keep_levels(py)?;
        add_apache_module(py, options)?;
        let template = template(py, options, file_wrapper.object())?;
        Ok(InterpreterState {
            environ_cache: EnvironCache::new(py)?,
            scripts: Scripts::new(py)?,
            input: py.class::<Input>()?.persist(),
            log: log_class.persist(),
            json,
            adapter: py.class::<Adapter>()?.persist(),
            auth: py.class::<Auth>()?.persist(),
            file_wrapper: file_wrapper.persist(),
            template: Persistent::new(template),
            module: Persistent::new(module),
            subscribers,
            request_timeout: Persistent::new(request_timeout),
            keys: InternedKeys::new(py)?,
            collections: options.telemetry.as_ref().map(|_| watch_garbage(py)).transpose()?,
        })
    }
}

/// `sys.argv`, `signal.signal`, `os.environ` and `sys.path`, as the configuration wants them.
fn prepare_process_attributes<'py>(
    py: Attached<'py>,
    options: &HostOptions,
    own: &InterpreterOptions,
    log: &SharedLog,
) -> Result<'py, ()> {
    // The command line of a Python that was started as a program is not the application's.
    for name in [c"argv", c"orig_argv"] {
        let argv = py.list()?;
        argv.append(&py.str("mod_wsgi")?)?;
        py.set_sys_attribute(name, &argv)?;
    }
    if own.restrict_signal {
        intercept_signals(py, log)?;
    }
    if let Some(eggs) = &options.python_eggs {
        let environ = py.import(c"os")?.attribute(c"environ")?;
        let eggs = py.path(eggs.as_os_str().as_bytes())?;
        environ.call_method(c"__setitem__", [&py.str("PYTHON_EGG_CACHE")?, &eggs])?;
    }
    for layer in &own.python_path {
        add_site_directories(py, layer, log)?;
    }
    if let (Some(home), Some(path)) = (&options.home, py.sys_attribute(c"path")?) {
        path.call_method(c"insert", [&py.int(0)?, &py.path(home.as_os_str().as_bytes())?])?;
    }
    Ok(())
}

/// The module `apache`, where there is an Apache, and no installed module of that name.
fn add_apache_module<'py>(py: Attached<'py>, options: &HostOptions) -> Result<'py, ()> {
    let Some(facts) = &options.apache else { return Ok(()) };
    if find_module(py, "apache")?.is_some() {
        return Ok(());
    }
    let apache = new_module(py, "apache")?;
    apache.set_attribute(c"version", &version_tuple(py, facts.version)?)?;
    apache.set_attribute(c"description", &py.str(&facts.description)?)?;
    apache.set_attribute(c"mpm_name", &py.str(&facts.mpm_name)?)?;
    apache.set_attribute(c"build_date", &py.str(&facts.build_date)?)?;
    apache.set_attribute(c"maximum_processes", &py.int(facts.maximum_processes)?)?;
    apache.set_attribute(c"threads_per_process", &py.int(facts.threads_per_process)?)?;
    register(py, "apache", &apache)
}

fn template<'py>(
    py: Attached<'py>,
    options: &HostOptions,
    file_wrapper: &Object<'py>,
) -> Result<'py, Object<'py>> {
    let template = py.dict()?;
    let put = |name, value: Object<'py>| template.set_item(&py.interned(name)?, &value);
    put("wsgi.version", py.tuple([py.int(1)?, py.int(0)?])?)?;
    put("wsgi.multithread", py.bool(options.multithread))?;
    put("wsgi.multiprocess", py.bool(options.multiprocess))?;
    put("wsgi.run_once", py.bool(options.run_once))?;
    put("wsgi.input_terminated", py.bool(true))?;
    put("wsgi.file_wrapper", file_wrapper.clone())?;
    put("mod_wsgi.version", version_tuple(py, COMPATIBLE_VERSION)?)?;
    put("mod_wsgi.process_group", py.str(&options.process_group)?)?;
    put("mod_wsgi.handler_script", py.str("")?)?;
    put("mod_wsgi.queue_start", py.float(0.0)?)?;
    put("mod_wsgi.daemon_start", py.float(0.0)?)?;
    if let Some(facts) = &options.apache {
        put("apache.version", version_tuple(py, facts.version)?)?;
    }
    Ok(template)
}

fn version_tuple(py: Attached<'_>, version: (i64, i64, i64)) -> Result<'_, Object<'_>> {
    py.tuple([py.int(version.0)?, py.int(version.1)?, py.int(version.2)?])
}

fn fill_module<'py>(
    py: Attached<'py>,
    module: &Object<'py>,
    name: &str,
    options: &HostOptions,
    file_wrapper: &Object<'py>,
) -> Result<'py, ()> {
    module.set_attribute(c"version", &version_tuple(py, COMPATIBLE_VERSION)?)?;
    module.set_attribute(c"process_group", &py.str(&options.process_group)?)?;
    module.set_attribute(c"application_group", &py.str(name)?)?;
    module.set_attribute(c"maximum_processes", &py.int(options.maximum_processes)?)?;
    module.set_attribute(c"threads_per_process", &py.int(options.threads_per_process)?)?;
    module.set_attribute(c"FileWrapper", file_wrapper)
}

/// The module's functions are bound methods of one object that knows what they work on.
fn add_functions<'py>(
    py: Attached<'py>,
    module: &Object<'py>,
    options: &HostOptions,
    activity: &Arc<Activity>,
    subscribers: &Arc<Subscribers>,
    log: &SharedLog,
    json_records: bool,
) -> Result<'py, ()> {
    let functions = Functions {
        subscribers: Arc::clone(subscribers),
        activity: Arc::clone(activity),
        log: SharedLog::clone(log),
        has_signals: !options.process_group.is_empty(),
        has_telemetry: options.telemetry.is_some(),
        threads: options.threads_per_process,
        server: options.server_status.clone(),
        json_records,
        module: Some(Persistent::new(module.clone())),
    };
    let functions = py.class::<Functions>()?.instantiate(functions)?;
    for name in FUNCTION_NAMES {
        module.set_attribute(name, &functions.attribute(name)?)?;
    }
    module.set_attribute(c"event_callbacks", &subscribers.events.get(py))?;
    module.set_attribute(c"shutdown_callbacks", &subscribers.shutdown.get(py))?;
    module.set_attribute(c"signal_callbacks", &subscribers.signals.get(py))
}

fn new_module<'py>(py: Attached<'py>, name: &str) -> Result<'py, Object<'py>> {
    py.new_module(&py.str(name)?)
}

fn register<'py>(py: Attached<'py>, name: &str, module: &Object<'py>) -> Result<'py, ()> {
    py.modules().set_item(&py.interned(name)?, module)
}

/// The spec of an importable module, without importing it.
fn find_module<'py>(py: Attached<'py>, name: &str) -> Result<'py, Option<Object<'py>>> {
    let finder = py.import(c"importlib.machinery")?.attribute(c"PathFinder")?;
    let spec = finder.call_method(c"find_spec", [&py.str(name)?])?;
    Ok((!spec.is_none()).then_some(spec))
}

/// Lets `mod_wsgi.express` and the like be imported where a package of that name is installed.
fn inherit_package_path<'py>(py: Attached<'py>, module: &Object<'py>) -> Result<'py, ()> {
    if let Some(spec) = find_module(py, "mod_wsgi")? {
        let places = spec.attribute(c"submodule_search_locations")?;
        if !places.is_none() {
            let list = py.import(c"builtins")?.call_method(c"list", [&places])?;
            module.set_attribute(c"__path__", &list)?;
        }
    }
    Ok(())
}

fn replace_streams<'py>(
    py: Attached<'py>,
    log_class: &ClassObject<'py, Log>,
    process: &HostOptions,
    options: &InterpreterOptions,
    log: &SharedLog,
    json: Option<&Arc<JsonSource>>,
) -> Result<'py, ()> {
    let stream = |name, level, descriptor| {
        let log = Log::of_thread(name, level, SharedLog::clone(log), json.cloned(), descriptor);
        text_stream(py, log_class, log)
    };
    // Standard error of a daemon process is a log; that of Apache's own processes may lead nowhere.
    let descriptor = (!process.process_group.is_empty()).then_some(STANDARD_ERROR);
    py.set_sys_attribute(c"stderr", &stream("<stderr>", Level::Error, descriptor)?)?;
    if process.single_process {
        return Ok(());
    }
    let restricted = |name| py.class::<Restricted>()?.instantiate(Restricted { name });
    let stdout = if options.restrict_stdout {
        restricted("sys.stdout")?
    } else {
        stream("<stdout>", options.print_level, None)?
    };
    py.set_sys_attribute(c"stdout", &stdout)?;
    if options.restrict_stdin {
        py.set_sys_attribute(c"stdin", &restricted("sys.stdin")?)?;
    }
    Ok(())
}

/// An `io.TextIOWrapper` over a log, which is what programs expect to find in `sys`.
fn text_stream<'py>(
    py: Attached<'py>,
    class: &ClassObject<'py, Log>,
    log: Log,
) -> Result<'py, Object<'py>> {
    let arguments = py.tuple([class.instantiate(log)?])?;
    let keywords = py.dict()?;
    let put = |name, value: Object<'py>| keywords.set_item(&py.str(name)?, &value);
    put("encoding", py.str("utf-8")?)?;
    put("errors", py.str("replace")?)?;
    put("line_buffering", py.bool(true))?;
    put("write_through", py.bool(true))?;
    py.import(c"io")?.attribute(c"TextIOWrapper")?.call_keywords(&arguments, &keywords)
}

fn intercept_signals<'py>(py: Attached<'py>, log: &SharedLog) -> Result<'py, ()> {
    let signal = py.import(c"signal")?;
    let intercept = SignalIntercept {
        real: Some(Persistent::new(signal.attribute(c"signal")?)),
        process: std::process::id(),
        log: SharedLog::clone(log),
    };
    let class = py.class::<SignalIntercept>()?;
    signal.set_attribute(c"signal", &class.instantiate(intercept)?)
}

/// Adds directories as `site.addsitedir` does, and moves what that added to the front of `sys.path`.
/// A directory that fails is reported, and those after it are left out.
fn add_site_directories<'py>(
    py: Attached<'py>,
    directories: &[PathBuf],
    log: &SharedLog,
) -> Result<'py, ()> {
    if directories.is_empty() {
        return Ok(());
    }
    let Some(path) = py.sys_attribute(c"path")? else {
        log.log(Level::Error, b"WSGI0096: sys.path is missing; WSGIPythonPath has no effect");
        return Ok(());
    };
    let list = py.import(c"builtins")?.attribute(c"list")?;
    let before = list.call([&path])?;
    let addsitedir = py.import(c"site")?.attribute(c"addsitedir")?;
    for directory in directories {
        let shown = directory.display();
        log.log(Level::Info, format!("adding '{shown}' to the module search path").as_bytes());
        if let Err(raised) = add_one(py, &addsitedir, directory) {
            let exception = raised.take();
            let line = format!("WSGI0091: cannot add '{shown}' to the module search path");
            log.log(Level::Error, line.as_bytes());
            failure::traceback(&exception, &mut |level, line| log.log(level, line.as_bytes()));
            break;
        }
    }
    let (new, old) = (py.list()?, py.list()?);
    let entries = path.iter()?;
    while let Some(entry) = entries.next()? {
        let known = before.call_method(c"__contains__", [&entry])?.is_true()?;
        (if known { &old } else { &new }).append(&entry)?;
    }
    new.call_method(c"extend", [&old])?;
    path.call_method(c"clear", [])?;
    path.call_method(c"extend", [&new])?;
    Ok(())
}

fn add_one<'py>(py: Attached<'py>, addsitedir: &Object<'py>, directory: &Path) -> Result<'py, ()> {
    addsitedir.call([&py.path(directory.as_os_str().as_bytes())?])?;
    Ok(())
}
