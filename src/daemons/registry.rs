//! All groups of the server, and the managers that outlive theirs. It must never know a configuration.
#![forbid(unsafe_code)]

use super::group_state::GroupState;
use super::manager::StoppingManager;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The groups that run. They outlive configurations, and hold nothing of any pool.
static GROUPS: Mutex<Vec<GroupState>> = Mutex::new(Vec::new());

/// Managers that finish what they serve: their group has left the configuration, or has another manager.
static STOPPING: Mutex<Vec<StoppingManager>> = Mutex::new(Vec::new());

/// The groups that run. To be locked before [`stopping`], where both are.
pub(super) fn groups() -> MutexGuard<'static, Vec<GroupState>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The managers that are stopping.
pub(super) fn stopping() -> MutexGuard<'static, Vec<StoppingManager>> {
    STOPPING.lock().unwrap_or_else(PoisonError::into_inner)
}
