//! What the workers of a group are doing, in memory that Apache, the group's manager and its workers
//! share (design decision D7). No lock is taken and nothing is waited for: each field is a word that is read and
//! written alone. This crate must never know where the memory comes from, or which process uses it.
//!
//! Applications can write to the memory, so a reader trusts nothing in it: each word may hold any number.
//!
//! All words are 64 bits in the machine's order:
//!
//! | words | what |
//! |---|---|
//! | 64 | header: [`MAGIC`], records, threads, words of a record, failed starts of the manager in a row, whether the group drains; then the [`Counters`], the log level that was set, the Python of the workers, and when a reload has last replaced one; the rest is reserved |
//! | per record: 20 | as [`Field`] numbers them, the rest reserved |
//! | per record: 256 | where the oldest request is, as [`StackSlot`] has it |
//! | per record and thread: 16 | time the request began (0: none), then 120 bytes of request line, closed by NULs |
//!
//! Apache's own children have records of the same form, without slots ([`Children`]).
//!
//! Beside it: what became of requests ([`RequestWords`]), also in the last minute ([`RecentRequests`]), which only Apache
//! writes to, why processes do not start ([`StartCause`]), to which no worker has access, and how all of that is shown to
//! Prometheus ([`Exposition`]).
//!
//! A slot has [`RECORDS_PER_SLOT`] records, which lie together: while a worker is replaced there are two, and workers that
//! were replaced before may still serve what they had.
//! Times are microseconds of [`now`], a clock that cannot be set.

mod back_off;
mod board;
mod children;
mod events;
mod executor;
mod exposition;
mod field;
mod flag;
mod histogram;
mod label;
mod log_level;
mod posix;
mod python_version;
mod recent_requests;
mod request_stack;
mod requests;
mod start_block;
mod start_cause;

pub use back_off::BackOff;
pub use board::{MAGIC, RECORDS_PER_SLOT, Record, Scoreboard};
pub use children::Children;
pub use events::{Counters, Events, ExitReason, START_BOUNDS};
pub use executor::{Executor, ExecutorLoad, ExecutorLoads};
pub use exposition::{Exposition, GroupFigures, GroupHistory, ProcessFigures, RequestFigures};
pub use field::{Field, State};
pub use flag::Flag;
pub use histogram::{Histogram, Percentile, percentile};
pub use label::Label;
pub use posix::now;
pub use python_version::PythonVersion;
pub use recent_requests::{RECENT_WORDS, RecentRequests, RequestCopies};
pub use request_stack::{RequestStack, StackSlot};
pub use requests::{REQUEST_WORDS, RequestCounts, RequestWords};
pub use start_cause::{START_CAUSE_WORDS, StartCause};
