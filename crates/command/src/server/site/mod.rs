//! The values that the templates of a server get, beside the options as they were given: theme by theme.

mod address_block;
mod app;
mod behind;
mod content;
mod facts;
mod logs;
mod names;
mod network;
mod places;
mod python;
mod values;

pub(crate) use address_block::AddressBlock;
pub(crate) use app::App;
pub(crate) use facts::{Facts, Purpose};
pub(crate) use values::Site;
