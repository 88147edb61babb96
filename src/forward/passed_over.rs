//! The workers that a request is not sent to. It must never know what the request says.
#![forbid(unsafe_code)]

use super::group::Group;
use fastcgi::app_status::NotLoaded;

/// The workers that a request is not sent to.
#[derive(Default)]
pub(super) struct PassedOver {
    /// A slot that no longer exists.
    missing: Option<usize>,
    /// The slots of workers without the script.
    without_script: Vec<usize>,
}

impl PassedOver {
    pub(super) fn contains(&self, slot: usize) -> bool {
        self.missing == Some(slot) || self.without_script.contains(&slot)
    }

    /// Notes a slot that no longer exists.
    pub(super) const fn note_missing(&mut self, slot: usize) {
        self.missing = Some(slot);
    }

    /// The worker of this slot cannot load the script: notes all that do not have it. Whether another one is left.
    pub(super) fn note_not_loaded(
        &mut self,
        slot: usize,
        failed: NotLoaded,
        group: &Group,
    ) -> bool {
        let board = group.plan.board.view();
        let slots = 0..group.plan.sockets.len();
        let lacks = |other: &usize| *other == slot || !board.has_script(*other, failed.script);
        self.without_script.extend(slots.clone().filter(lacks));
        slots.into_iter().any(|slot| !self.contains(slot))
    }
}
