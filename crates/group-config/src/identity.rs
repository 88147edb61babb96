//! The user, the directories and the environment of a group's processes.

use crate::{Environment, byte_string};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// What the manager becomes, in mod_wsgi's order. `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// The user to become, by number; root is refused.
    pub uid: Option<u32>,
    /// The primary group, by number.
    pub gid: Option<u32>,
    /// Groups in addition to the primary one; `None`: what the group database says of the user.
    pub supplementary_groups: Option<Vec<u32>>,
    /// Permission bits that new files do not get.
    pub umask: Option<u32>,
    /// New root directory.
    #[serde(with = "byte_string")]
    pub chroot: Option<PathBuf>,
    /// Working directory; also the first entry of `sys.path`.
    #[serde(with = "byte_string")]
    pub home: Option<PathBuf>,
    /// Without `home`: stay in the directory where the manager was started, instead of going to the home of the user.
    pub stays: bool,
    /// `environment=`.
    pub environment: Environment,
    /// The variables of Apache's environment that `environment` passes on. The processes get them once they are the
    /// user's: as root the manager has none that says where programs and libraries are loaded from.
    #[serde(with = "byte_string")]
    pub inherited: Vec<(OsString, OsString)>,
    /// `LANG`.
    #[serde(with = "byte_string")]
    pub lang: Option<OsString>,
    /// `LC_ALL`.
    #[serde(with = "byte_string")]
    pub locale: Option<OsString>,
    /// Nice value, from -20 to 19; the kernel takes the nearest of others.
    pub cpu_priority: i32,
}
