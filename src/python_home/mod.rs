//! Checks of a Python installation before a process is started with it, with the permissions of the user whose
//! processes read it. An error is one sentence at `apachectl configtest`, not a process that exits again and again
//! ("No module named 'encodings'"). Nothing here knows which process will use the installation.
#![forbid(unsafe_code)]

mod error;
mod inspection;
mod settings;
mod time_budget;

pub(crate) use error::HomeError;
#[cfg(feature = "embedded")]
pub(crate) use inspection::normalised;
pub(crate) use inspection::{Inspection, Reader};
pub(crate) use time_budget::TimeBudget;
