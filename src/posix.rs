//! The system calls of this crate, by the names its files know them by; they are those of `sys`.
#![forbid(unsafe_code)]

pub(crate) use sys::{
    SharedWords, bind_private as listen, chown_descriptor as give, connect, exits_before as ends,
    has_search_permission as may_enter, is_alive as exists, is_readable, is_root, kill as signal,
    kill_session as end_session, loaded_from as file_of, memory_file,
    raise_descriptor_limit as make_room_for_descriptors, readable_length, restore_descriptor_limit,
    send_descriptor, send_now, set_backlog, set_buffers, spawn, user_name, wait_for,
};

/// The effective user and group of this process.
pub(crate) fn account() -> (u32, u32) {
    (sys::effective_uid(), sys::effective_gid())
}
