//! `threads=0`: a worker that runs the group's import scripts, one after the other, and then exits. It serves no
//! requests.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::message::{Channel, Command, Report};
use crate::time_limit;
use crate::worker::error::WorkerError;
use crate::worker::file_version;
use crate::worker::python::Python;
use group_config::GroupConfig;
use host::{Reloading, ScriptFile, Target};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::Duration;
use sys::SIGTERM;
use wsgi::Level;

/// Runs the scripts to their end.
pub(super) fn run(
    config: &GroupConfig,
    log: &Log,
    mut channel: Channel,
    python: Python,
) -> Result<(), WorkerError> {
    let prepared = python.prepare(config, log)?;
    if channel.send(&Report::Ready { failed: false }).is_err() {
        return Ok(());
    }
    let (shutdown_timeout, log) = (config.timers.shutdown_timeout, *log);
    thread::Builder::new()
        .name("wsgi-commands".to_owned())
        .spawn(move || stop_on_command(channel, shutdown_timeout, log))
        .map_err(WorkerError::system("start a thread"))?;
    for script in &config.import_scripts {
        prepared.host.run_service(&Target {
            script: ScriptFile {
                path: script.path.as_os_str().as_bytes(),
                modified: file_version::version(&script.path),
                reloading: Reloading::Never,
                case_sensitive: config.python.case_sensitive,
                replacement: None,
            },
            callable: b"",
            application_group: script.application_group.as_bytes(),
            main_interpreter: config.sole,
            is_elsewhere: false,
        });
    }
    prepared.host.stop("");
    Ok(())
}

/// Turns the manager's command to stop, or its end, into a SIGTERM, which Python turns into `SystemExit`.
fn stop_on_command(mut channel: Channel, shutdown_timeout: Option<Duration>, log: Log) {
    loop {
        sys::wait_readable(&[channel.as_fd()], None);
        match channel.receive::<Command>() {
            Ok(commands) if !commands.iter().any(Command::is_to_finish) => {}
            Ok(_) | Err(_) => break,
        }
    }
    sys::kill(i32::try_from(std::process::id()).unwrap_or(0), SIGTERM);
    if let Some(limit) = time_limit::enabled(shutdown_timeout) {
        thread::sleep(limit);
        let line = b"the service script did not stop within shutdown-timeout; terminating it";
        log.write(Level::Warning, line);
        sys::exit_now(1);
    }
    // The manager kills a worker that closes its channel, before that had the time to stop.
    std::mem::forget(channel);
}
