//! A group whose place another one has taken, with sockets and a secret of its own: Apache's children of older
//! configurations use it until they end. It must never know its successor.
#![forbid(unsafe_code)]

use super::generation::ChildrenEnd;
use super::group_state::GroupState;

/// A group that is no more in the configuration as it was.
pub(super) struct RetiredGroup {
    pub(super) group: GroupState,
    pub(super) children: ChildrenEnd,
}
