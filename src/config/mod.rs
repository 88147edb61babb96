//! What the administrator wrote: parse → merge → resolve. This room is pure: it never sees Apache,
//! Python or the operating system; what it must ask of them it asks through [`ParseContext`] and
//! [`Names`].
//!
//! | moment | type | holds |
//! |---|---|---|
//! | a line is read | [`Directive`], [`Line`] | a row of [`DIRECTIVES`], arguments and place |
//! | parsed | [`ProcessConfig`], [`ServerConfig`], [`DirectoryConfig`] | what was written |
//! | merged | the same | the inner section first, then the outer one, said per field |
//! | used | [`ProcessOptions`] at start, [`Settings`] per request | every default applied |
//!
//! To add a directive: one row in `directives.rs`, one field in the config it belongs to, one test,
//! one section in `docs/directives.md`.

#![forbid(unsafe_code)]

// What a line is, and how it is read.
mod asgi_options;
mod bytes;
mod directive;
mod directives;
mod environment;
mod error;
mod line;
mod options;
mod parse_context;
mod suggestion;
mod word_lexer;

// The lines of directives that are more than one word.
mod alias_directives;
mod daemon_process_directive;
mod interpreter_directives;
mod process_directives;
mod telemetry_directives;

// What was written.
mod directory;
mod process;
mod server;

// The larger values.
mod daemon_options;
mod daemon_process;
mod group_reference;
mod interface;
mod interpreter;
mod process_group;
mod proxy_header;
mod repeated_group;
mod script;
mod script_alias;
mod section_selector;
mod server_names;
mod subnet;
mod telemetry;

// What it comes to.
mod expansion;
mod process_options;
mod settings;

#[cfg(test)]
mod stub;

pub(crate) use bytes::Bytes;
pub(crate) use daemon_options::directories;
pub(crate) use daemon_process::{Account, DaemonProcess, WarmUp};
pub(crate) use directive::{Contexts, Directive, Form, Scope};
pub(crate) use directives::DIRECTIVES;
pub(crate) use directory::{DirectoryConfig, MapHead, RequestLines, ScriptReloading};
pub(crate) use error::ConfigError;
pub(crate) use expansion::{
    Names, application_group, callable_object, process_group, script_group,
};
pub(crate) use group_reference::{GroupReference, check_group_references};
pub(crate) use interface::{InterfaceReference, check_interfaces};
pub(crate) use interpreter::{InterpreterOptions, InterpreterSettings, Section};
pub(crate) use line::{Args, Line};
pub(crate) use parse_context::{ParseContext, Pattern, ServerIdentity};
pub(crate) use process::{HashSeed, ProcessConfig};
pub(crate) use process_group::visibility;
pub(crate) use process_options::ProcessOptions;
pub(crate) use proxy_header::{ProxyCategory, ProxyHeader};
pub(crate) use repeated_group::{RepeatedGroup, check_repeated_groups};
pub(crate) use script::{HandlerScript, ImportScript, Script};
pub(crate) use script_alias::{Location, Mapped, ScriptAlias};
pub(crate) use section_selector::SectionSelector;
pub(crate) use server::ServerConfig;
pub(crate) use server_names::ServerNames;
pub(crate) use settings::{Dispatched, NotDispatched, Settings};
pub(crate) use subnet::Subnet;
pub(crate) use suggestion::did_you_mean;
pub(crate) use telemetry::{TelemetryOptions, TelemetryService};
pub(crate) use word_lexer::split_words;
