//! Where httpd keeps this module's configuration: made and merged by callbacks, written while the files are
//! read, found again by hooks. What the lines mean is `config`'s affair.
#![allow(unsafe_code, reason = "httpd keeps the configuration as pointers without a type")]

mod alias_note;
mod in_force;
mod server_slot;
mod slots;

pub(crate) use alias_note::{alias_of, remember_alias};
pub(crate) use in_force::{directory_config, process_config, server_config, server_defaults};
pub(crate) use slots::{
    configs_being_read, create_directory, create_server, merge_directory, merge_server,
};
