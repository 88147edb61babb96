//! The command line: commands and their options, theme by theme. Values come from arguments, else from the environment,
//! else from pyproject.toml. Nothing here looks at Apache, at Python or at what is served.
#![forbid(unsafe_code)]

mod access;
mod buffers;
mod capacity;
mod command_line;
mod content;
mod control;
mod development;
mod doctor;
mod entry_point;
mod env_file;
mod expansion;
mod identity;
mod layers;
mod listener;
mod logs;
mod measurement;
mod proxying;
mod refused;
mod services;
mod timeouts;

pub(crate) use capacity::Capacity;
pub(crate) use command_line::{
    Command, InstallModule, ModuleConfig, ModuleLocation, ServerOptions, Unparsed, parse,
};
pub(crate) use control::{Control, OfGroup, OfGroups, OfLogLevel, OfProcess, OfStacks, OfTop};
pub(crate) use doctor::Doctor;
pub(crate) use entry_point::{ApplicationType, EntryPoint, Interface};
pub(crate) use env_file::words;
pub(crate) use identity::Programs;
pub(crate) use listener::Listener;
pub(crate) use logs::{LogFormat, Logs};
pub(crate) use timeouts::Timeouts;
