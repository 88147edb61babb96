//! Options of scripts that run beside the application.

use clap::Args;

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Services")]
pub(crate) struct Services {
    /// name of a service, and the script that its process runs
    #[arg(long, num_args = 2, value_names = ["SERVICE", "SCRIPT"])]
    pub(crate) service_script: Vec<String>,
    /// service, and the user of its process
    #[arg(long, num_args = 2, value_names = ["SERVICE", "USER"])]
    pub(crate) service_user: Vec<String>,
    /// service, and the group of its process
    #[arg(long, num_args = 2, value_names = ["SERVICE", "GROUP"])]
    pub(crate) service_group: Vec<String>,
    /// service, and the name of its log file
    #[arg(long, num_args = 2, value_names = ["SERVICE", "NAME"])]
    pub(crate) service_log_file: Vec<String>,
}
