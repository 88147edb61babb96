//! The system calls of this crate, by the names its files know them by; they are those of `sys`. Beside them,
//! what answers over a connection that another thread owns.
#![allow(unsafe_code, reason = "a descriptor by its number")]

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};

pub(crate) use sys::{
    EPOLLIN, EPOLLONESHOT, Epoll, Resource, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1,
    SIGUSR2, SIGWINCH, SIGXCPU, Signals, become_subreaper as adopt_orphans, effective_uid, execute,
    exit_now, fork, fork_reparented as fork_away, group_id_by_name as group_named, groups_of,
    has_hung_up, has_input, ignore_signal as ignore, is_dumpable, kill, local_time, memory_file,
    on_fork as at_fork, peer_uid, reap, receive_now, replace_inherited,
    replace_standard_error as set_standard_error, reset_signal as unwatch, send_all,
    set_backlog as listen, set_buffers, set_death_signal as die_with_parent, set_dumpable, set_gid,
    set_groups, set_limit, set_locale, set_priority, set_process_name, set_uid, set_umask,
    set_variable, stack_size, take_inherited as adopt, user_by_id as user_of,
    user_by_name as user_named, wait_for_exit as wait_for, wait_readable,
};

/// From now on nothing can be written at the other end of this socket.
pub(crate) fn stop_reading(socket: RawFd) {
    // SAFETY: the connection stays open until its thread has the claim back (`ResponseClaim`).
    sys::shutdown_read(unsafe { BorrowedFd::borrow_raw(socket) });
}

/// Sends all of the pieces to a socket that another thread owns.
pub(crate) fn send_to(socket: RawFd, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    // SAFETY: as for `stop_reading`.
    sys::send_all(unsafe { BorrowedFd::borrow_raw(socket) }, pieces, None)
}
