//! What the values are made from.

use crate::application::{Application, Kind};
use crate::machine::{Account, Apache, ModuleFiles, Python};
use crate::options::ServerOptions;
use crate::server::folder::ServerRoot;
use std::path::{Path, PathBuf};

/// Where distributions have the types of files.
const MIME_TYPES: [&str; 3] =
    ["/etc/mime.types", "/etc/httpd/conf/mime.types", "/etc/apache2/mime.types"];

/// What the files of a server are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An administrator keeps them.
    Keep,
    /// This process starts the server, and prints its logs.
    Start,
}

/// What was asked for, and what there is.
pub(crate) struct Facts<'a> {
    pub(crate) options: &'a ServerOptions,
    pub(crate) purpose: Purpose,
    pub(crate) apache: &'a Apache,
    pub(crate) module: &'a ModuleFiles,
    pub(crate) python: &'a Python,
    pub(crate) account: &'a Account,
    pub(crate) application: &'a Application,
    pub(crate) root: &'a ServerRoot,
    pub(crate) working_directory: &'a Path,
}

impl Facts<'_> {
    /// Whether the server is one for development.
    pub(crate) fn is_development(&self) -> bool {
        self.options.development.is_on() && self.has_python()
    }

    /// Whether there is an application.
    pub(crate) fn has_python(&self) -> bool {
        !matches!(self.application.kind, Kind::Static(_))
    }

    /// Whether the launcher reads the logs from named pipes.
    pub(crate) fn uses_pipes(&self) -> bool {
        self.purpose == Purpose::Start && self.options.logs.log_directory.is_none()
    }

    /// Whether browsers refresh themselves.
    pub(crate) fn refreshes_browsers(&self) -> bool {
        self.is_development()
            && self.purpose == Purpose::Start
            && !self.options.development.no_browser_refresh
            && ["substitute", "proxy", "proxy_http"].iter().all(|name| self.apache.has(name))
    }

    /// A path of an option as text; relative ones begin in the current folder.
    pub(crate) fn path(path: &Path) -> String {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
    }

    /// A file of the server root as text.
    pub(crate) fn in_root(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    /// The folder of files that Apache serves by itself.
    pub(crate) fn document_root(&self) -> PathBuf {
        match (&self.application.kind, &self.options.content.document_root) {
            (Kind::Static(folder), _) => folder.clone(),
            (_, Some(folder)) => std::path::absolute(folder).unwrap_or_else(|_| folder.clone()),
            (_, None) => self.root.join("htdocs"),
        }
    }

    /// The table of types: that of the option or the system, or one in the server root.
    pub(crate) fn mime_types(&self) -> String {
        let system = MIME_TYPES.iter().find(|path| Path::new(path).exists());
        match (&self.options.identity.mime_types, system) {
            (Some(path), _) => Self::path(path),
            (None, Some(path)) => (*path).to_owned(),
            (None, None) => self.in_root("mime.types"),
        }
    }

    /// Whether there is a table of types without ours.
    pub(crate) fn has_system_mime_types(&self) -> bool {
        self.mime_types() != self.in_root("mime.types")
    }
}
