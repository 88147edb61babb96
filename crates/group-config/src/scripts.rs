//! Scripts that a group is told of by name.

use crate::byte_string;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// An application by its script.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The file.
    #[serde(with = "byte_string")]
    pub script: PathBuf,
    /// The callable in it.
    #[serde(default = "application")]
    pub callable: String,
}

fn application() -> String {
    "application".to_owned()
}

/// `warm-up=`: a `GET` request that no client has sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// The file.
    #[serde(with = "byte_string")]
    pub script: PathBuf,
    /// The interpreter by name; empty is the main one.
    pub application_group: String,
    /// The callable in the script.
    #[serde(with = "byte_string")]
    pub callable: OsString,
    /// The path at which the application is mounted, `SCRIPT_NAME`.
    #[serde(with = "byte_string")]
    pub script_name: OsString,
    /// `PATH_INFO`.
    #[serde(with = "byte_string")]
    pub path_info: OsString,
    /// `QUERY_STRING`.
    #[serde(with = "byte_string")]
    pub query: OsString,
    /// `SERVER_NAME`, and `HTTP_HOST` with the port where that is not the scheme's.
    #[serde(with = "byte_string")]
    pub host: OsString,
    /// `SERVER_PORT`.
    pub port: u16,
    /// `https`, not `http`.
    pub secure: bool,
}

/// `WSGIImportScript`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportScript {
    /// The file.
    #[serde(with = "byte_string")]
    pub path: PathBuf,
    /// The interpreter by name; empty is the main one.
    #[serde(default)]
    pub application_group: String,
    /// The callable that requests will name, where that is known.
    #[serde(default)]
    pub callable: Option<String>,
}
