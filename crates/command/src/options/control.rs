//! Options of the commands that ask something of the process groups of a running server.

use super::identity::Programs;
use clap::Args;
use std::path::PathBuf;

/// Which server is meant, and how the answer is printed.
#[derive(Args, Debug)]
pub(crate) struct Control {
    /// folder of the server's sockets: DefaultRuntimeDir, that of WSGISocketPrefix, or the server root of start-server
    /// [default: each of them that is known]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// process id of Apache's parent (SERVER of status), where several servers have a group of that name
    #[arg(long, value_name = "PID")]
    pub(crate) server: Option<u32>,
    /// print one JSON object; top prints one a second, each in a line
    #[arg(long)]
    pub(crate) json: bool,
    /// how long to wait for an answer [default: 5; top 2; stacks 6; reload, recycle and drain 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: Option<u64>,
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// Options of top.
#[derive(Args, Debug)]
pub(crate) struct OfTop {
    #[command(flatten)]
    pub(crate) groups: OfGroups,
    /// with --json: how many lines to print [default: until the command is ended]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Options of status and ps.
#[derive(Args, Debug)]
pub(crate) struct OfGroups {
    /// name of a process group [default: all]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) control: Control,
}

/// Options of reload and drain.
#[derive(Args, Debug)]
pub(crate) struct OfGroup {
    /// name of the process group
    pub(crate) group: String,
    #[command(flatten)]
    pub(crate) control: Control,
}

/// Options of log-level.
#[derive(Args, Debug)]
pub(crate) struct OfLogLevel {
    /// name of the process group
    pub(crate) group: String,
    /// emerg, alert, crit, error, warn, notice, info, debug or trace1 [default: print the level]
    #[arg(value_parser = LEVELS)]
    pub(crate) level: Option<String>,
    #[command(flatten)]
    pub(crate) control: Control,
}

/// Names of levels, as Apache has them.
const LEVELS: [&str; 9] =
    ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace1"];

/// Options of stacks.
#[derive(Args, Debug)]
pub(crate) struct OfStacks {
    /// name of the process group
    pub(crate) group: String,
    /// only those of this worker
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    #[command(flatten)]
    pub(crate) control: Control,
}

/// Options of recycle.
#[derive(Args, Debug)]
pub(crate) struct OfProcess {
    /// process id of the worker, as ps prints it
    pub(crate) pid: u32,
    #[command(flatten)]
    pub(crate) control: Control,
}
