//! What httpd keeps for one server: two configurations behind one pointer without a type. A line of the main
//! server's files writes to both at once. It never knows how httpd keeps the pointer.

use crate::config::{ProcessConfig, ServerConfig};
use std::cell::UnsafeCell;

/// What is kept for a server. The main server's carries what is about the whole process; a virtual host's
/// own `process` is never looked at.
///
/// Each field is a cell of its own, and is reached through a pointer to the slot: so an exclusive reference to
/// one of them and a reference to the other may exist at the same time, as they do while a line is read.
pub(super) struct ServerSlot {
    server: UnsafeCell<ServerConfig>,
    process: UnsafeCell<ProcessConfig>,
}

impl ServerSlot {
    pub(super) fn new(server: ServerConfig) -> Self {
        Self { server: UnsafeCell::new(server), process: UnsafeCell::default() }
    }

    /// The server's own configuration, to be read.
    ///
    /// # Safety
    /// `slot` is null or made by `create_server` or `merge_server` and not destroyed during `'s`, in which
    /// [`Self::server_mut`] is not called for it.
    pub(super) unsafe fn server<'s>(slot: *const Self) -> Option<&'s ServerConfig> {
        // SAFETY: the caller's promise; only the one cell is read.
        (!slot.is_null()).then(|| unsafe { &*UnsafeCell::raw_get(&raw const (*slot).server) })
    }

    /// The same, to be written.
    ///
    /// # Safety
    /// As for [`Self::server`], and there is no other reference to it during `'s`.
    pub(super) unsafe fn server_mut<'s>(slot: *const Self) -> Option<&'s mut ServerConfig> {
        // SAFETY: the caller's promise; only the one cell is touched.
        (!slot.is_null()).then(|| unsafe { &mut *UnsafeCell::raw_get(&raw const (*slot).server) })
    }

    /// The configuration of the whole process, to be read.
    ///
    /// # Safety
    /// As for [`Self::server`], with [`Self::process_mut`].
    pub(super) unsafe fn process<'s>(slot: *const Self) -> Option<&'s ProcessConfig> {
        // SAFETY: the caller's promise; only the one cell is read.
        (!slot.is_null()).then(|| unsafe { &*UnsafeCell::raw_get(&raw const (*slot).process) })
    }

    /// The same, to be written.
    ///
    /// # Safety
    /// As for [`Self::server_mut`].
    pub(super) unsafe fn process_mut<'s>(slot: *const Self) -> Option<&'s mut ProcessConfig> {
        // SAFETY: the caller's promise; only the one cell is touched.
        (!slot.is_null()).then(|| unsafe { &mut *UnsafeCell::raw_get(&raw const (*slot).process) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What reading a line of the main server does, without httpd: Miri can run it, and refuses it if a
    /// reference to the whole slot is made between the two writes.
    #[test]
    fn both_configurations_of_a_slot_are_written_at_once() {
        let slot = Box::into_raw(Box::new(ServerSlot::new(ServerConfig::default())));
        // SAFETY: the slot lives until the end of the test, and each configuration has one reference at a time.
        unsafe {
            let server = ServerSlot::server_mut(slot).unwrap();
            let process = ServerSlot::process_mut(slot).unwrap();
            server.script_aliases.reserve(1);
            process.python_optimize = Some(1);
            server.script_aliases.shrink_to_fit();
            process.slow_requests = None;
            assert_eq!(ServerSlot::process(slot).unwrap().python_optimize, Some(1));
            assert!(ServerSlot::server(slot).unwrap().script_aliases.is_empty());
            drop(Box::from_raw(slot));
        }
    }

    #[test]
    fn a_server_without_a_slot_has_no_configuration() {
        // SAFETY: a null pointer is none.
        assert!(unsafe { ServerSlot::process(std::ptr::null()) }.is_none());
        // SAFETY: as before.
        assert!(unsafe { ServerSlot::server_mut(std::ptr::null()) }.is_none());
    }
}
