//! `interface=auto`: which interface the applications of a worker have, decided once, when it has loaded them and before it
//! serves. It never knows how either one is served.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::worker::error::WorkerError;
use crate::worker::file_version;
use crate::worker::python::PreparedPython;
use group_config::{GroupConfig, ImportScript, Interface};
use host::{ApplicationInterface, Reloading, ScriptFile, Target};
use std::os::unix::ffi::OsStrExt;
use wsgi::Level;

/// Puts the interface that the applications have into `config`, where that leaves it to them.
///
/// # Errors
/// Where they do not decide; the log has the reason.
pub(super) fn settle(
    config: &mut GroupConfig,
    python: &PreparedPython,
    log: &Log,
) -> Result<(), WorkerError> {
    if config.interface != Interface::Auto || config.is_service() {
        return Ok(());
    }
    let mut settled: Option<(Interface, &ImportScript)> = None;
    for script in config.import_scripts.iter().filter(|it| it.callable.is_some()) {
        let interface = interface_of(script, config, python)
            .map_err(|(level, why)| undecided(log, level, &format!("{}: {why}", name(script))))?;
        match settled {
            Some((other, first)) if other != interface => {
                return Err(mixed(log, [(first, other), (script, interface)]));
            }
            Some(_) => {}
            None => settled = Some((interface, script)),
        }
    }
    let Some((interface, script)) = settled else {
        return Err(undecided(log, Level::Error, "no script of the configuration decides"));
    };
    let line =
        format!("interface=auto: {} is an application of {}", name(script), interface.name());
    log.write(Level::Info, line.as_bytes());
    config.interface = interface;
    Ok(())
}

fn name(script: &ImportScript) -> String {
    let callable = script.callable.as_deref().unwrap_or_default();
    format!("'{callable}' of {}", script.path.display())
}

fn undecided(log: &Log, level: Level, why: &str) -> WorkerError {
    let line = format!("WSGI0260: interface=auto is not decided: {why}");
    log.write(level, line.as_bytes());
    WorkerError::NoInterface(260)
}

fn mixed(log: &Log, found: [(&ImportScript, Interface); 2]) -> WorkerError {
    let [first, second] =
        found.map(|(script, interface)| format!("{} is one of {}", name(script), interface.name()));
    let line = format!(
        "WSGI0261: interface=auto, and the applications of this process group have different interfaces: {first}, \
         {second}; each process group serves one of the two"
    );
    log.write(Level::Error, line.as_bytes());
    WorkerError::NoInterface(261)
}

/// Of a script that has not been loaded: the cause is in the lines of that error, and is what the manager passes on.
const NOT_LOADED: (Level, &str) = (Level::Warning, "there is no application, as lines above say");

/// The interface of one application, or why it has none.
fn interface_of(
    script: &ImportScript,
    config: &GroupConfig,
    python: &PreparedPython,
) -> Result<Interface, (Level, &'static str)> {
    let target = Target {
        script: ScriptFile {
            path: script.path.as_os_str().as_bytes(),
            modified: file_version::version(&script.path),
            reloading: Reloading::Never,
            case_sensitive: config.python.case_sensitive,
            replacement: None,
        },
        callable: script.callable.as_deref().unwrap_or_default().as_bytes(),
        application_group: script.application_group.as_bytes(),
        main_interpreter: config.main_interpreter(),
        is_elsewhere: false,
    };
    if !python.has_loaded(script) {
        return Err(NOT_LOADED);
    }
    match python.host.interface_of(&target) {
        Some(ApplicationInterface::Wsgi) => Ok(Interface::Wsgi),
        Some(ApplicationInterface::Asgi) => Ok(Interface::Asgi),
        Some(ApplicationInterface::Asgi2) => Err((
            Level::Error,
            "this is an application of ASGI 2, which has two callables and is not served; make one of ASGI 3 of it, \
             for example by asgiref.compatibility.guarantee_single_callable(application)",
        )),
        None => Err(NOT_LOADED),
    }
}
