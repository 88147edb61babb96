//! The gateway of PEP 3333: one request through one application, whatever transport brought it.

mod call;
pub(crate) mod consult;
pub(crate) mod current;
pub(crate) mod environ;
pub(crate) mod lease;
pub(crate) mod response;
mod send;
pub(crate) mod serve;
pub(crate) mod target;
