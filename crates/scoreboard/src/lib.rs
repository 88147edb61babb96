//! What the workers of a group are doing, in memory that Apache, the group's manager and its workers
//! share (design decision D7). It never waits for anybody: every field is a word that is read and written
//! alone. It makes no memory and knows no process.
//!
//! Applications can write to it, so a reader believes nothing: every number may be any number.
//!
//! All words are 64 bits in the machine's order:
//!
//! | words | what |
//! |---|---|
//! | 8 | header: [`MAGIC`], records, threads, words of a record, how often in a row a manager came to nothing, and 3 of no use yet |
//! | per record: 16 | as [`Field`] numbers them, the rest of no use yet |
//! | per record and thread: 16 | time the request began (0: none), then 120 bytes of request line, closed by NULs |
//!
//! A slot has two records, `2 * slot` and `2 * slot + 1`: while a worker is replaced there are two.
//! Times are microseconds of [`now`], the clock that nobody can set.

mod board;
mod posix;

pub use board::{Field, MAGIC, Record, Scoreboard, State};
pub use posix::now;
