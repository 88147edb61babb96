//! The top of this crate: the structure httpd finds by its name, with the table of directives and the hooks.
//! Nothing else names this room.
#![allow(unsafe_code, reason = "the structure and the callbacks are C's")]

mod commands;
mod definition;
mod parse_context;
