//! The program `wsgi-daemon-X.Y`: hosts Python applications in its own processes, and speaks FastCGI
//! over Unix sockets and, run by hand, over TCP. It knows no Apache.
//!
//! Its configuration ([`group_config`]) is Apache's supervisor's, or that of the command line (`arguments`). `manager`
//! is what the first process of a group does: it takes the group's user on, starts workers and replaces them.
//! `worker` is what each of its children does: it runs Python and serves. Both share how a process is started
//! (`launch`) and what the two ends of the channel between them say (`message`).

mod arguments;
mod connection_queue;
mod daemon_program;
mod drain_command;
mod extension;
mod launch;
mod listen_address;
mod log;
mod log_limit;
mod log_pipe;
mod log_queue;
mod log_threshold;
mod manager;
mod message;
mod probe;
mod process_stacks;
mod process_title;
mod program;
mod program_error;
mod python_command;
mod serialized_start;
mod socket_activation;
mod time_limit;
mod usage;
mod worker;

pub use extension::run_in_python;
pub use program::{main, manage};
