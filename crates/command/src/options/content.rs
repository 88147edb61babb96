//! Options of files, errors and responses.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `WSGIMapHEADToGET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[value(rename_all = "PascalCase")]
pub(crate) enum MapHead {
    /// Where an output filter needs the body.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Files and responses")]
pub(crate) struct Content {
    /// folder of files that are served before the application is asked
    #[arg(long, value_name = "FOLDER")]
    pub(crate) document_root: Option<PathBuf>,
    /// file that is served for a folder, as in `index.html`
    #[arg(long, value_name = "FILE")]
    pub(crate) directory_index: Option<String>,
    /// list the files of a folder
    #[arg(long)]
    pub(crate) directory_listing: bool,
    /// classes of directives that .htaccess files may have
    #[arg(long, value_name = "CLASS")]
    pub(crate) allow_override: Vec<String>,
    /// URL path, and the file or folder that is served there
    #[arg(long, num_args = 2, value_names = ["URL-PATH", "FILE|FOLDER"])]
    pub(crate) url_alias: Vec<String>,
    /// status, and URL path of the response to it
    #[arg(long, num_args = 2, value_names = ["STATUS", "URL-PATH"])]
    pub(crate) error_document: Vec<String>,
    /// replace errors of the application by Apache's
    #[arg(long)]
    pub(crate) error_override: bool,
    /// compress responses of common text types
    #[arg(long)]
    pub(crate) compress_responses: bool,
    /// whether the application gets HEAD as GET
    #[arg(long, value_enum, value_name = "WHEN", default_value = "Auto")]
    pub(crate) map_head_to_get: MapHead,
    /// permit bodies of unknown length
    #[arg(long)]
    pub(crate) chunked_request: bool,
    /// run CGI scripts (.cgi) below the document root
    #[arg(long)]
    pub(crate) with_cgi: bool,
    /// file name extension, and the WSGI script with handle_request() for such files
    #[arg(long, num_args = 2, value_names = ["EXTENSION", "SCRIPT"])]
    pub(crate) add_handler: Vec<String>,
    /// URL path at which Apache answers 200 OK by itself, without Python
    #[arg(long, value_name = "URL-PATH")]
    pub(crate) health_url: Option<String>,
}
