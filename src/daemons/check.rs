//! What of a group can be checked before anything is started: at configtest too. It must never know what runs.
#![forbid(unsafe_code)]

use super::error::GroupError;
use super::group_config::{Applications, configure};
use super::installation::Requirement;
use super::registry::examined;
use crate::config::{DaemonProcess, ProcessOptions};
use crate::python_home::TimeBudget;
use std::time::Duration;

/// Examines the program and the Python installation of each group, for the start that may follow. For each group there
/// are the warnings, or what is wrong.
pub(crate) fn examine<'o>(
    options: &'o ProcessOptions,
    budget: &mut TimeBudget,
) -> Vec<(&'o DaemonProcess, Result<Vec<String>, String>)> {
    let mut examined = examined();
    examined.clear();
    let groups = options.daemon_processes.iter().map(|group| {
        let found = Requirement::new(group, options).examine(budget);
        let report = match &found {
            Ok(installation) => Ok(installation.warnings.clone()),
            Err(why) => Err(why.to_string()),
        };
        examined.insert(group.name.clone(), found);
        (group, report)
    });
    groups.collect()
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
    let config = configure(group, options, applications, None, 0, Duration::ZERO);
    config.check_options().map_err(|why| GroupError::Options { group: config.name.clone(), why })
}

/// Whether what [`examine`] finds concerns the group alone. An error of a group's own `python-home` is no reason to keep
/// a server from starting, or to end one that restarts: the group may be a customer's, who must not be able to do that
/// to the others.
pub(crate) fn is_group_error(group: &DaemonProcess) -> bool {
    group.config.python.home.is_some()
}
