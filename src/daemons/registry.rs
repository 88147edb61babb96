//! All groups of the server, and the managers that outlive theirs. It must never know a configuration.
#![forbid(unsafe_code)]

use super::error::GroupError;
use super::group_state::GroupState;
use super::installation::Installation;
use super::manager::StoppingManager;
use super::retired::RetiredGroup;
use crate::config::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was found for each group of the configuration that is being read, by name.
type Examined = BTreeMap<Bytes, Result<Installation, GroupError>>;

/// The groups that run. They outlive configurations, and hold nothing of any pool.
static GROUPS: Mutex<Vec<GroupState>> = Mutex::new(Vec::new());

/// Managers that finish what they serve: their group has left the configuration, or has another manager.
static STOPPING: Mutex<Vec<StoppingManager>> = Mutex::new(Vec::new());

/// Groups that others have taken the place of, and that children of older configurations still use.
static RETIRED: Mutex<Vec<RetiredGroup>> = Mutex::new(Vec::new());

/// What the check of the configuration has found, so that the start that follows need not ask again.
static EXAMINED: Mutex<Examined> = Mutex::new(BTreeMap::new());

/// The groups that run. To be locked before [`stopping`], where both are.
pub(super) fn groups() -> MutexGuard<'static, Vec<GroupState>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The managers that are stopping.
pub(super) fn stopping() -> MutexGuard<'static, Vec<StoppingManager>> {
    STOPPING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The groups that are retired. To be locked before [`stopping`], where both are.
pub(super) fn retired() -> MutexGuard<'static, Vec<RetiredGroup>> {
    RETIRED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was found for the groups of the configuration that is being read.
pub(super) fn examined() -> MutexGuard<'static, Examined> {
    EXAMINED.lock().unwrap_or_else(PoisonError::into_inner)
}
