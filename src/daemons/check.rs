//! What of a group can be checked before anything is started: at configtest too. It must never know what runs.
#![forbid(unsafe_code)]

use super::daemon_program;
use super::error::GroupError;
use super::group_config::{Applications, configure};
use crate::config::{DaemonProcess, ProcessOptions};
use std::time::Duration;

/// Whether the group's program is installed and its Python installation can be used by the group's user.
///
/// # Errors
/// [`GroupError::Program`] and [`GroupError::Home`].
pub(crate) fn check(group: &DaemonProcess, options: &ProcessOptions) -> Result<(), GroupError> {
    daemon_program::find(group, options)?;
    Ok(daemon_program::check_home(group, options)?)
}

/// Whether the group's manager will accept its configuration: what no single line can tell.
///
/// # Errors
/// [`GroupError::Options`].
pub(crate) fn check_options(
    group: &DaemonProcess,
    options: &ProcessOptions,
    applications: &Applications<'_>,
) -> Result<(), GroupError> {
    let config = configure(group, options, applications, 0, Duration::ZERO);
    config.check_options().map_err(|why| GroupError::Options { group: config.name.clone(), why })
}

/// Whether what [`check`] finds concerns the group alone. An error of a group's own `python-home` is no reason to keep
/// a server from starting, or to end one that restarts: the group may be a customer's, who must not be able to do that
/// to the others.
pub(crate) fn is_group_error(group: &DaemonProcess) -> bool {
    group.config.python.home.is_some()
}
