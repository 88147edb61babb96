//! Options of logs.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How the launcher prints lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
pub(crate) enum LogFormat {
    /// Coloured on a terminal, plain elsewhere.
    Auto,
    /// Text without colours.
    Plain,
    /// An object of JSON for each line.
    Json,
}

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Logs")]
pub(crate) struct Logs {
    /// folder of the logs [default: start-server writes to the terminal, setup-server to the server root]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) log_directory: Option<PathBuf>,
    /// write logs to standard error and standard output; start-server does by itself
    #[arg(long)]
    pub(crate) log_to_terminal: bool,
    /// level of Apache's log [default: warn; info with --debug]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// log each request
    #[arg(long)]
    pub(crate) access_log: bool,
    /// common, combined, or a format of mod_log_config
    #[arg(long, value_name = "FORMAT")]
    pub(crate) access_log_format: Option<String>,
    /// name of its file
    #[arg(long, value_name = "NAME", default_value = "access_log")]
    pub(crate) access_log_name: String,
    /// format of the error log
    #[arg(long, value_name = "FORMAT")]
    pub(crate) error_log_format: Option<String>,
    /// name of its file
    #[arg(long, value_name = "NAME", default_value = "error_log")]
    pub(crate) error_log_name: String,
    /// write what Apache says before its log is open to a file
    #[arg(long)]
    pub(crate) startup_log: bool,
    /// name of that file
    #[arg(long, value_name = "NAME", default_value = "startup_log")]
    pub(crate) startup_log_name: String,
    /// begin a new log file after --max-log-size
    #[arg(long)]
    pub(crate) rotate_logs: bool,
    /// size of a log file, in megabytes
    #[arg(long, value_name = "MB", default_value_t = 5)]
    pub(crate) max_log_size: u32,
    /// Apache's program rotatelogs
    #[arg(long, value_name = "FILE")]
    pub(crate) rotatelogs_executable: Option<PathBuf>,
    /// how start-server prints lines
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    pub(crate) log_format: LogFormat,
    /// print every line: of each static file, and of Apache itself
    #[arg(long, short)]
    pub(crate) verbose: bool,
}
