//! Apache httpd made safe: requests lent for the length of a hook, servers, logging, hooks. It knows
//! nothing of WSGI, and nothing above it sees a raw pointer.
#![allow(unsafe_code, reason = "this room is the fence around httpd")]

mod auth;
mod body;
mod child_slots;
mod departure;
mod directives;
mod filters;
mod hooks;
mod interim;
mod log;
mod log_id;
mod module;
mod panic_hook;
mod parked;
mod previous_request;
mod raw_bytes;
mod regex;
mod request;
mod request_identity;
mod response;
mod scoreboard;
mod server;
mod server_info;
mod suspension;
mod tunnel;

pub(crate) use self::scoreboard::Scoreboard;
pub(crate) use crate::apr::guard;
pub(crate) use auth::{
    AccessChecker, Authenticator, Authorizer, Password, RealmHash, hook_access_checker,
    register_authenticator, register_authorizer,
};
pub(crate) use body::RequestBody;
pub(crate) use child_slots::{ChildSlots, fill_slots_at_once};
pub(crate) use directives::{every_directive, main_directive};
pub(crate) use hooks::{
    BeforeServing, CheckConfig, ChildEnded, ChildInit, ChildStopping, ContentHandler, Monitor,
    Order, Outcome, PostConfig, RedirectedLog, TranslateName, hook_before_serving,
    hook_check_config, hook_child_ended, hook_child_init, hook_child_stopping,
    hook_content_handler, hook_monitor, hook_post_config, hook_redirected_log, hook_translate_name,
};
pub(crate) use log::{
    ServerLogHandle, SourceLocation, log_config_line, log_server, log_server_from,
};
pub(crate) use module::register_module;
pub(crate) use panic_hook::install_panic_hook;
pub(crate) use parked::{ClosedRecord, Parked};
pub(crate) use previous_request::PreviousRequest;
pub(crate) use regex::Regex;
pub(crate) use request::{FileKind, Request};
pub(crate) use response::{BrigadeEnd, Head, PassError};
pub(crate) use server::Server;
pub(crate) use server_info::{Mpm, OtherChild, ServerInfo};
pub(crate) use suspension::{Suspended, hook_suspend_connection};
