//! Which interpreters a `<WSGIInterpreterOptions>` block is for. It never knows what the block holds.

use super::Bytes;

/// Which interpreters a block is for. An empty name is the `%{GLOBAL}` one; unset selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SectionSelector {
    pub(crate) process_group: Option<Bytes>,
    pub(crate) application_group: Option<Bytes>,
}

impl SectionSelector {
    /// Whether it is for an interpreter; without an application group, for one that no block names.
    pub(super) fn selects(&self, process_group: &[u8], application_group: Option<&[u8]>) -> bool {
        let application = self.application_group.as_deref();
        self.selects_process(process_group)
            && application.is_none_or(|name| application_group == Some(name))
    }

    pub(super) fn selects_process(&self, process_group: &[u8]) -> bool {
        self.process_group.as_deref().is_none_or(|name| name == process_group)
    }

    /// Whether it names a sub-interpreter of `process_group`.
    pub(crate) fn names_sub_interpreter(&self, process_group: &[u8]) -> bool {
        self.selects_process(process_group)
            && self.application_group.as_ref().is_some_and(|name| !name.is_empty())
    }

    /// How many selectors it gives; the more, the stronger.
    pub(super) fn specificity(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }
}
