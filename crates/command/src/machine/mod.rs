//! What this machine has: Apache, the module, Python, users. Facts are looked up; nothing is started or written but by
//! `install`.
#![forbid(unsafe_code)]

mod account;
pub(crate) mod addresses;
mod apache;
mod module_files;
mod python;

pub(crate) use account::Account;
pub(crate) use apache::{Apache, find_program};
pub(crate) use module_files::ModuleFiles;
pub(crate) use python::Python;
