//! What a command that asks a running server prints for programs where it has no answer.

use super::printable::printable_json;
use crate::failure::Failure;
use crate::lines;
use crate::options::Control;
use serde_json::json;
use std::process::ExitCode;

/// With `--json` a failure is an object on standard output, with the exit status that it has otherwise.
pub(crate) fn answer(
    options: &Control,
    done: Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    match done {
        Err(why) if options.json => {
            lines::to_standard_output(&printable_json(&json!({ "error": why.to_string() })));
            Ok(ExitCode::from(why.exit_status()))
        }
        done => done,
    }
}
