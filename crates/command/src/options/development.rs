//! Options of development.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Development")]
pub(crate) struct Development {
    /// load the application anew when a file of it is saved, show tracebacks of failed imports and refresh the browser
    #[arg(long, visible_alias = "reload-on-changes")]
    pub(crate) reload: bool,
    /// the same as --reload, with the log level info
    #[arg(long)]
    pub(crate) debug: bool,
    /// another folder to watch
    #[arg(long, value_name = "FOLDER")]
    pub(crate) reload_dir: Vec<PathBuf>,
    /// name pattern of further files that load the application anew, as in `*.yaml`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) reload_include: Vec<String>,
    /// name pattern of files and folders that are not watched
    #[arg(long, value_name = "PATTERN")]
    pub(crate) reload_exclude: Vec<String>,
    /// with --reload, leave pages without the script that refreshes the browser
    #[arg(long)]
    pub(crate) no_browser_refresh: bool,
    /// with --reload, fail where the port is taken and do not take the next one
    #[arg(long)]
    pub(crate) strict_port: bool,
    /// do not replace processes when the script file changes
    #[arg(long)]
    pub(crate) disable_reloading: bool,
}

impl Development {
    /// Whether the server is one for development.
    pub(crate) fn is_on(&self) -> bool {
        self.reload || self.debug
    }
}
