//! The interpreters of a process: how they are made and prepared, what is kept in each, the scripts they load.
#![forbid(unsafe_code)]

pub(crate) mod application;
mod child_signals;
mod fork_hint;
mod forked_threads;
pub(crate) mod gil_mode;
pub(crate) mod interface;
pub(crate) mod interpreter;
pub(crate) mod keys;
pub(crate) mod load;
mod logging_levels;
mod maintenance;
pub(crate) mod prepare;
pub(crate) mod process_environment;
pub(crate) mod registry;
pub(crate) mod script;
pub(crate) mod state;
pub(crate) mod yielding;
