//! The files of a server: what the options mean for Apache, and the folder that is written. It starts nothing.
#![forbid(unsafe_code)]

mod checks;
mod folder;
mod modules;
mod render;
mod setup;
mod site;
mod sizing;

pub(crate) use setup::{Setup, what_was_chosen, write};
pub(crate) use site::Purpose;
