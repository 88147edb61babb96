//! `threads=0`: a worker that runs the group's import scripts, one after the other, and then ends. It
//! serves nobody.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::log::Log;
use crate::message::{Channel, Order, Report};
use crate::posix::{self, SIGTERM};
use crate::worker::file_time::modified;
use crate::worker::python::Prepared;
use host::{ScriptFile, Target};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::Duration;
use wsgi::Level;

/// Runs the scripts to their end. The manager's order to leave becomes a SIGTERM, which Python turns into
/// `SystemExit`.
pub(crate) fn run(config: &GroupConfig, log: &Log, mut channel: Channel) -> Result<(), String> {
    let prepared = Prepared::start(config, log)?;
    let told = channel.send(&Report::Ready { failed: false });
    if told.is_err() {
        return Ok(());
    }
    let (timers, deaf) = (config.timers.clone(), *log);
    let listen = move || {
        loop {
            posix::wait_readable(&[channel.as_fd()], None);
            match channel.receive::<Order>() {
                Ok(orders) if orders.is_empty() => {}
                Ok(_) | Err(_) => break,
            }
        }
        posix::kill(i32::try_from(std::process::id()).unwrap_or(0), SIGTERM);
        if let Some(seconds) = timers.shutdown_timeout.filter(|seconds| *seconds > 0.0) {
            thread::sleep(Duration::from_secs_f64(seconds));
            let line = b"the service script did not stop within shutdown-timeout; it is ended";
            deaf.write(Level::Warning, line);
            posix::exit_now(1);
        }
        // Who closes its channel is taken for lost, and has no time to leave.
        std::mem::forget(channel);
    };
    thread::Builder::new()
        .name("wsgi-orders".to_owned())
        .spawn(listen)
        .map_err(|why| format!("cannot start a thread: {why}"))?;
    for script in &config.import_scripts {
        prepared.host.run_service(&Target {
            script: ScriptFile {
                path: script.path.as_os_str().as_bytes(),
                modified: modified(&script.path),
                reloading: false,
                case_sensitive: config.python.case_sensitive,
            },
            callable: b"",
            application_group: script.application_group.as_bytes(),
            main_interpreter: config.sole,
        });
    }
    prepared.host.stop("");
    Ok(())
}
