//! Options of doctor.

use super::identity::Programs;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// folder of a server that setup-server has written [default: the system's Apache]
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    pub(crate) server_root: Option<PathBuf>,
    /// configuration file of another Apache
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) programs: Programs,
}
