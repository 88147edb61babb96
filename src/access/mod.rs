//! Scripts of the server's own: which clients may come in, which passwords and groups users have, and where a
//! request is to run (mod_wsgi's reference, section 5). They run in Apache's own processes, whatever serves
//! the application. No answer never means yes.
#![forbid(unsafe_code)]

mod authenticator;
mod authorizer;
mod checker;
mod dispatch;
mod question;
mod script_exchange;

pub(crate) use authenticator::UserScript;
pub(crate) use authorizer::GroupScript;
pub(crate) use checker::AccessScript;
pub(crate) use dispatch::dispatch;
