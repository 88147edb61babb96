//! The Linux calls that std does not offer, for the module and for the daemon. This crate knows neither Apache
//! nor Python, and decides nothing: which process calls what, and when, is up to its callers.
//!
//! Calls that `rustix` has are its safe functions. What it leaves out is here, with the `unsafe` it takes:
//! `fork` and what follows it, the databases of users and groups, the C library's locale and environment,
//! signal handlers, shared memory as atomics. Every public function is safe: where its contract cannot be
//! expressed as a type, the function checks it (see `threads`) or says why nothing has to hold.

mod close_on_fork;
mod descriptors;
mod environment;
mod epoll;
mod execute;
mod files;
mod frozen_copy;
mod inspector;
mod interruption;
mod limits;
mod memory;
mod names;
mod own_memory;
mod process_usage;
mod processes;
mod readiness;
mod shared_words;
mod signals;
mod socket_file;
mod sockets;
mod spawn;
mod tcp;
mod thread_clock;
mod threads;
mod timer;
mod users;
mod wakeup;

pub use close_on_fork::{CloseOnFork, close_marked_on_fork, in_forked_child};
pub use descriptors::{
    ClosedBy, is_unread, refuse_descriptors, replace_standard_output, set_nonblocking,
    take_inherited, write,
};
pub use environment::{
    local_time, set_locale, set_text_locale, set_umask, set_variable, unset_variable,
};
pub use epoll::{
    EPOLL_ENDS, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLRDHUP, Epoll, Event, EventFlags,
};
pub use execute::{Executable, execute};
pub use files::{
    chown_descriptor, free_space, loaded_from, memory_file, open_path, open_regular,
    readable_length, resident_bytes, unnamed_file, write_all_at,
};
pub use frozen_copy::run_in_frozen_copy;
pub use inspector::{Credentials, Inspector, MAX_CONTENT};
pub use interruption::{forget_interruptions, interrupt_until, stop_interruptions};
pub use limits::{
    Resource, descriptor_limit, is_out_of_descriptors, raise_descriptor_limit,
    restore_descriptor_limit, set_limit, stack_size,
};
pub use memory::limit_arenas;
pub use names::{overwrite_arguments, set_process_name};
pub use own_memory::OwnMemory;
pub use process_usage::ProcessUsage;
pub use processes::{
    Reaped, become_subreaper, begin_session, exit_now, exits_before, fork, fork_reparented,
    has_exited, is_alive, is_dead, is_dumpable, kill, kill_session, reap, set_death_signal,
    set_dumpable, set_priority, wait_for_exit,
};
pub use readiness::{
    Ready, is_readable, is_readable_before_hang_up, is_writable, wait_for, wait_for_either,
    wait_for_room, wait_readable,
};
pub use shared_words::{ReadableWords, SharedWords};
pub use signals::{
    SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGXCPU,
    SIGXFSZ, Signals, block_signals, disregard_signal, ignore_signal, reset_signal,
};
pub use socket_file::{SocketFile, socket_file};
pub use sockets::{
    Received, bind_private, bind_with_mode, connect, has_hung_up, has_input, has_unread,
    is_shut_down, is_too_long, packet_pair, peer_uid, receive, receive_now,
    receive_now_with_descriptors, receive_some, receive_with_descriptor, reset_linger, send,
    send_all, send_buffer_size, send_file_now, send_now, send_with_descriptor_now, set_backlog,
    set_buffers, set_timeouts, shut_down, shutdown_read, shutdown_write,
};
pub use spawn::spawn;
pub use tcp::{
    accept, has_ended, is_listening, is_tcp, listen_tcp, local_address, peer_address,
    prepare_tcp_listener,
};
pub use thread_clock::ThreadClock;
pub use timer::Timer;
pub use users::{
    User, effective_gid, effective_uid, group_id_by_name, groups_of, is_root, set_gid, set_groups,
    set_uid, user_by_id, user_by_name, user_name,
};
pub use wakeup::{Wakeup, has_signal_come};
