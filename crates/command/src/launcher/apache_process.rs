//! Apache's parent process, as a child of the launcher.

use crate::failure::Failure;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// The word that makes this program run Apache's control script in its place.
pub(crate) const SUPERVISED: &str = "__supervised";

/// Starts Apache in the foreground, in a process group of its own, so that Ctrl-C and a changed window reach the launcher
/// alone. Returns its process id.
pub(super) fn spawn(control: &Path, variables: &[(String, String)]) -> Result<u32, Failure> {
    let program = std::env::current_exe()
        .map_err(|why| Failure::server(format!("this program's own file: {why}")))?;
    let mut command = Command::new(program);
    command
        .arg(SUPERVISED)
        .arg(std::process::id().to_string())
        .arg(control)
        .args(["start", "-DFOREGROUND"])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        // What systemd tells the launcher is not for Apache.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .process_group(0);
    let child = command
        .spawn()
        .map_err(|why| Failure::server(format!("{} cannot be run: {why}", control.display())))?;
    Ok(child.id())
}

/// The other end of [`spawn`]: has the kernel end this process with the launcher, whatever ends that, and becomes the
/// program of the remaining arguments.
pub(crate) fn run_supervised(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let launcher = arguments.next().and_then(|pid| pid.to_str()?.parse::<u32>().ok());
    sys::set_death_signal(sys::SIGTERM);
    // The launcher may have ended before the signal was asked for.
    if launcher != Some(std::os::unix::process::parent_id()) {
        return ExitCode::FAILURE;
    }
    let Some(program) = arguments.next() else { return ExitCode::FAILURE };
    // Returns only where the program cannot be run.
    let why = Command::new(&program).args(arguments).exec();
    let text = format!("mod_wsgi_rs: {} cannot be run: {why}\n", program.to_string_lossy());
    crate::lines::to_standard_error(&text);
    ExitCode::FAILURE
}
