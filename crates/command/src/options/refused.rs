//! Options of mod_wsgi-express that mean nothing here: each with the sentence that says why, and what there is.

use clap::{Arg, ArgAction, ArgMatches, Command};

struct Refused {
    name: &'static str,
    /// How many values follow it.
    values: usize,
    /// Ends the sentence "--name: ".
    why: &'static str,
}

const NO_DEBUG_MODE: &str = "Apache never runs as a single process here, so that there is no console for a debugger; \
     use --debug, and breakpoint() of a debugger that listens on a port";

const TABLE: [Refused; 17] = [
    Refused { name: "debug-mode", values: 0, why: NO_DEBUG_MODE },
    Refused { name: "enable-debugger", values: 0, why: NO_DEBUG_MODE },
    Refused { name: "debugger-startup", values: 0, why: NO_DEBUG_MODE },
    Refused { name: "enable-coverage", values: 0, why: MEASURE_YOURSELF },
    Refused { name: "coverage-directory", values: 1, why: MEASURE_YOURSELF },
    Refused { name: "enable-profiler", values: 0, why: MEASURE_YOURSELF },
    Refused { name: "profiler-directory", values: 1, why: MEASURE_YOURSELF },
    Refused { name: "enable-recorder", values: 0, why: NO_RECORDER },
    Refused { name: "recorder-directory", values: 1, why: NO_RECORDER },
    Refused { name: "enable-gdb", values: 0, why: NO_GDB },
    Refused { name: "gdb-executable", values: 1, why: NO_GDB },
    Refused { name: "enable-telemetry", values: 0, why: NO_TELEMETRY_SERVICE },
    Refused { name: "telemetry-ui-port", values: 1, why: NO_TELEMETRY_SERVICE },
    Refused {
        name: "enable-docs",
        values: 0,
        why: "no documents of mod_wsgi are installed; the project's are in its folder docs/",
    },
    Refused { name: "with-php5", values: 0, why: "PHP 5 is not served; use --proxy-mount-point" },
    Refused {
        name: "verbose-debugging",
        values: 0,
        why: "WSGIVerboseDebugging has no effect since mod_wsgi 6; use --log-level info",
    },
    Refused {
        name: "isatty",
        values: 0,
        why: "the command looks itself whether it has a terminal; use --log-format",
    },
];

const MEASURE_YOURSELF: &str = "processes are several and are replaced, so that a report at their end would be one of \
     many; run coverage or a profiler with the tests of the application";
const NO_RECORDER: &str =
    "requests are not recorded to files; use --access-log, or middleware of the application";
const NO_GDB: &str = "the command starts no gdb; attach one to a process: gdb -p PID";
const NO_TELEMETRY_SERVICE: &str = "the command starts no telemetry service; start one and name its socket: --telemetry-service unix:PATH";

/// Makes the command know the refused options, so that they are not taken for misspelt ones.
pub(crate) fn declare(command: Command) -> Command {
    TABLE.iter().fold(command, |command, refused| {
        let action = if refused.values == 0 { ArgAction::SetTrue } else { ArgAction::Append };
        let arg = Arg::new(refused.name).long(refused.name).hide(true).action(action);
        command.arg(if refused.values == 0 { arg } else { arg.num_args(refused.values) })
    })
}

/// The sentence about the first refused option that was given.
pub(crate) fn sentence(matches: &ArgMatches) -> Option<String> {
    let given = |refused: &&Refused| {
        matches
            .value_source(refused.name)
            .is_some_and(|source| source != clap::parser::ValueSource::DefaultValue)
    };
    TABLE.iter().find(given).map(|refused| format!("--{}: {}", refused.name, refused.why))
}
