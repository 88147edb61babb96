//! Options of access control.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `AuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[value(rename_all = "PascalCase")]
pub(crate) enum AuthType {
    /// The password is sent.
    Basic,
    /// A digest of it is sent.
    Digest,
}

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Access control")]
pub(crate) struct AccessControl {
    /// script with allow_access()
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) host_access_script: Option<PathBuf>,
    /// script with check_password() or get_realm_hash()
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) auth_user_script: Option<PathBuf>,
    /// how a client sends its password
    #[arg(long, value_enum, value_name = "TYPE", default_value = "Basic")]
    pub(crate) auth_type: AuthType,
    /// script with groups_for_user()
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) auth_group_script: Option<PathBuf>,
    /// group that a user must be in
    #[arg(long, value_name = "GROUP", default_value = "wsgi")]
    pub(crate) auth_group: String,
}
