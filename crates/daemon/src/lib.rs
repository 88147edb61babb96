//! The program `wsgi-daemon-X.Y`: hosts Python applications in its own processes, and speaks FastCGI
//! over Unix sockets. It knows no Apache.
//!
//! [`config`] is what it is told, by Apache's supervisor or (`arguments`) by hand. `identity` is who it
//! becomes. `group` is the manager: it gives each `slot` a `worker` by way of a `seat`, perhaps forked from a
//! `template`, perhaps after a `warm_up`, hears from it by `message`, and sees what it does on the scoreboard (a crate of its own);
//! `octets` is how paths travel, and `account` asks who a user is. In
//! a worker the threads of `pool`, as many of a `crew` as are up, take turns at each `connection`; `target` is which application a request
//! is for, `exchange` what Python sees of it, `turn` who answers it, `recycling` when the worker has had its time, `companion` a
//! thread beside them, `forks` what applications fork. A `service` serves nobody.

mod account;
mod arguments;
mod companion;
pub mod config;
mod connection;
mod crew;
mod exchange;
mod forks;
mod group;
mod identity;
mod log;
mod message;
mod octets;
mod pool;
mod posix;
mod program;
mod recycling;
mod reloader;
mod seat;
mod service;
mod shortage;
mod signal_teller;
mod slot;
mod socket;
mod target;
mod template;
mod turn;
mod warm_up;
mod worker;

pub use program::{main, manage};
