//! What is served: understood from the entry point, or found in the working directory. Files are read as text; no code of
//! the application runs here.
#![forbid(unsafe_code)]

mod django;
mod entry;
mod interface;
mod search;
mod served;
mod source;

pub(crate) use django::module_file;
pub(crate) use entry::find;
pub(crate) use served::{Application, Kind};
pub(crate) use source::text_after;
