//! Certificates for development: an authority of this user's own, and a certificate that it signs for this machine.
#![forbid(unsafe_code)]

mod authority;
mod leaf;
mod trust;

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// Files of a server, and what a person has to know of them.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The certificate of the server.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// How browsers come to trust them.
    pub(crate) note: String,
}

/// Writes a certificate for these names and addresses into `folder`, signed by the user's authority, which is made where
/// there is none.
///
/// # Errors
/// Where a file cannot be read or written.
pub(crate) fn make(folder: &Path, names: &[String]) -> Result<Certificates, Failure> {
    let home = authority::folder(
        std::env::var_os("XDG_DATA_HOME").map(PathBuf::from),
        std::env::var_os("HOME").map(PathBuf::from),
    )?;
    let authority = authority::find_or_make(&home)?;
    let note = trust::note(&authority);
    let (certificate, key) = leaf::write(&authority, folder, names)?;
    Ok(Certificates { certificate, key, note })
}

/// Names and addresses of this machine that a server on `host` is reached by.
pub(crate) fn names_of_machine(host: Option<&str>, further: &[String]) -> Vec<String> {
    leaf::names(host, further)
}
