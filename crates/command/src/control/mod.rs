//! The commands that ask something of the process groups of a running server, over the sockets in its runtime directory.
//! They work while every worker is stuck, because the groups' managers answer. A new command is a file beside `status`:
//! it takes groups from `find`, asks each with `Group::ask`, and prints with `printable`.
#![forbid(unsafe_code)]

mod answer;
mod connection;
mod find;
mod group;
mod log_level;
mod manager;
mod orders;
mod places;
mod printable;
mod ps;
mod report;
mod several;
mod stacks;
mod status;
mod table;
mod top;

pub(crate) use answer::answer;
pub(crate) use log_level::log_level;
pub(crate) use orders::{drain, recycle, reload};
pub(crate) use ps::ps;
pub(crate) use stacks::stacks;
pub(crate) use status::status;
pub(crate) use top::top;
