//! The command doctor: looks at an Apache as it is configured or runs, and says in sentences what is wrong or slow. Facts
//! come from httpd itself; nothing is changed.
#![forbid(unsafe_code)]

mod checks;
mod configtest;
mod directives;
mod django;
mod findings;
mod folders;
mod groups;
mod server;
mod way;

use crate::failure::Failure;
use crate::lines;
use crate::options::Doctor;
pub(crate) use folders::socket_folders;

use findings::Report;
use std::process::ExitCode;

/// Looks, prints, and returns the exit status: 0 where nothing was found, 1 after warnings, 2 after errors.
pub(crate) fn run(options: &Doctor) -> Result<ExitCode, Failure> {
    let mut report = Report::default();
    let server = configtest::ask(options, &mut report)?;
    checks::all(&server, &mut report);
    let text = if options.json { report.json(&server.title) } else { report.text(&server.title) };
    lines::to_standard_output(&text);
    Ok(ExitCode::from(report.exit_status()))
}
