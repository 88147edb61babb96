//! The gateway of PEP 3333: one request through one application, whatever transport brought it.

pub(crate) mod consult;
pub(crate) mod current;
pub(crate) mod environ;
pub(crate) mod lease;
pub(crate) mod response;
pub(crate) mod serve;
pub(crate) mod target;
