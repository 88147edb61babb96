//! The types that an application sees, made anew for each interpreter. None of them knows how an interpreter is made or
//! which transport is in use.
#![forbid(unsafe_code)]

mod adapter;
mod auth;
mod file_wrapper;
mod functions;
mod input;
mod json_line;
mod log;
mod log_handler;
mod metrics;
mod plain_file;
mod restricted;
mod shared_state;
mod signal_intercept;
mod task_log;

pub(crate) use adapter::{Adapter, raise_chunk_error};
pub(crate) use auth::Auth;
pub(crate) use file_wrapper::FileWrapper;
pub(crate) use functions::{Functions, NAMES as FUNCTION_NAMES};
pub(crate) use input::Input;
pub(crate) use json_line::{JsonLine, JsonSource};
pub(crate) use log::Log;
pub(crate) use restricted::Restricted;
pub(crate) use shared_state::hide_shared_state;
pub(crate) use signal_intercept::SignalIntercept;
pub(crate) use task_log::{TaskLog, set_task_log};
