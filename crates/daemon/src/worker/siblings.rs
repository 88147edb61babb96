//! The other workers of the group, as far as a worker looks at them: whether one has a script. It talks to none.
#![forbid(unsafe_code)]

use crate::launch::SlotHandle;
use crate::message::Loaded;
use scoreboard::Scoreboard;
use std::os::unix::ffi::OsStrExt;

/// The other workers of the group.
pub(super) struct Siblings {
    board: Scoreboard<'static>,
    own_slot: usize,
    slots: usize,
}

impl Siblings {
    /// Those of the worker in the slot `own`, of `slots` slots.
    pub(super) fn of(own: &SlotHandle, slots: usize) -> Self {
        Self { board: own.memory.board, own_slot: own.slot, slots }
    }

    /// Whether one of them has the script with this number.
    pub(super) fn have(&self, script: u8) -> bool {
        (0..self.slots).any(|slot| slot != self.own_slot && self.board.has_script(slot, script))
    }
}

/// The number of a script on the scoreboard, the same in all workers of a group; two scripts may share one.
pub(super) fn script_number(script: &Loaded) -> u8 {
    let path = script.path.as_os_str().as_bytes();
    let bytes = path.iter().chain(&[0]).chain(script.application_group.as_bytes());
    // FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The high bits depend on all bytes.
    (hash >> 58) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_share_few_numbers_and_a_version_makes_no_other_one() {
        let script = |path: &str, group: &str| Loaded {
            path: path.into(),
            application_group: group.to_owned(),
            modified: None,
            callable: None,
        };
        let numbers: std::collections::BTreeSet<_> = (0..100)
            .map(|number| script_number(&script(&format!("/srv/site-{number}/app.wsgi"), "")))
            .collect();
        assert!(numbers.len() > 40 && numbers.iter().all(|number| *number < 64), "{numbers:?}");
        let one = script("/srv/app.wsgi", "site");
        let known = Loaded { callable: Some("application".to_owned()), ..one.clone() };
        assert_eq!(script_number(&one), script_number(&known));
        assert_ne!(script_number(&one), script_number(&script("/srv/app.wsgi", "other")));
    }
}
