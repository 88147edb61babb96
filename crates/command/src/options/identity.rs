//! Options of users, folders, environment and programs.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "User, folders, environment, programs")]
pub(crate) struct Identity {
    /// user of the processes, where root starts the server
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// their group [default: the user's]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// folder in which the application runs, also searched for modules [default: the current one]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) working_directory: Option<PathBuf>,
    /// folder for all files that the command writes [default: a folder of its own in TMPDIR or /tmp]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) server_root: Option<PathBuf>,
    /// file with the process id of Apache [default: httpd.pid in the server root]
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// multi-processing module: event, worker, prefork; the first one that there is
    #[arg(long, value_name = "NAME", value_parser = ["event", "worker", "prefork"])]
    pub(crate) server_mpm: Vec<String>,
    /// folder for the sockets between Apache and processes [default: the server root]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) socket_prefix: Option<PathBuf>,
    /// virtual environment or prefix of the Python [default: VIRTUAL_ENV, else .venv or venv in the working directory, else
    /// the environment that the command is installed in]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) python_home: Option<PathBuf>,
    /// another folder for modules
    #[arg(long, value_name = "FOLDER")]
    pub(crate) python_path: Vec<PathBuf>,
    /// folder in which eggs are unpacked [default: python-eggs in the server root]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) python_eggs: Option<PathBuf>,
    /// filter of Python's warnings, as in `ignore::DeprecationWarning`
    #[arg(long, value_name = "FILTER")]
    pub(crate) python_warnings: Vec<String>,
    /// locale of the processes [default: that of the environment if it is UTF-8, else C.UTF-8]
    #[arg(long, value_name = "NAME", alias = "lang")]
    pub(crate) locale: Option<String>,
    /// variable of a request: its environ, and CGI scripts
    #[arg(long, num_args = 2, value_names = ["NAME", "VALUE"])]
    pub(crate) setenv: Vec<String>,
    /// variable that requests get from the environment of Apache
    #[arg(long, value_name = "NAME")]
    pub(crate) passenv: Vec<String>,
    /// shell script with variables that apachectl reads
    #[arg(long, value_name = "FILE")]
    pub(crate) envvars_script: Option<PathBuf>,
    /// file with lines NAME=VALUE: variables of the application, and options of this command
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// what ps shows for Apache's parent process
    #[arg(long, value_name = "TEXT")]
    pub(crate) process_name: Option<String>,
    /// shell of apachectl [default: /bin/sh; /bin/bash with --process-name]
    #[arg(long, value_name = "FILE")]
    pub(crate) shell_executable: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) programs: Programs,
    /// file with the types of files
    #[arg(long, value_name = "FILE")]
    pub(crate) mime_types: Option<PathBuf>,
    /// further configuration, included at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) include_file: Vec<PathBuf>,
    /// file with directives of mod_rewrite for --document-root
    #[arg(long, value_name = "FILE")]
    pub(crate) rewrite_rules: Option<PathBuf>,
}

/// Where Apache and the module are.
#[derive(Args, Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Programs {
    /// Apache; the variable HTTPD names it too
    #[arg(long, value_name = "FILE")]
    pub(crate) httpd_executable: Option<PathBuf>,
    /// folder of Apache's modules
    #[arg(long, value_name = "FOLDER")]
    pub(crate) modules_directory: Option<PathBuf>,
    /// mod_wsgi_rs.so [default: beside this program, or in the folder of Apache's modules]
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
}
