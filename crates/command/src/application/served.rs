//! What is served, as a value: the result of understanding an entry point.

use crate::options::Interface;
use std::path::PathBuf;

/// How an application is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A script file.
    Script(PathBuf),
    /// A module of Python.
    Module(String),
    /// An ini file of Paste Deploy.
    Paste(PathBuf),
    /// A folder of files; no Python.
    Static(PathBuf),
}

/// What is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) kind: Kind,
    /// A name in the script or module, possibly with dots, or a call.
    pub(crate) callable: String,
    /// `DJANGO_SETTINGS_MODULE`, where the application is Django's own without a wsgi.py.
    pub(crate) django_settings: Option<String>,
    /// What it was found by, where nothing was named.
    pub(crate) found_by: Option<String>,
    /// Its interface; `Auto`: each process decides when it has loaded the application.
    pub(crate) interface: Interface,
}

impl Application {
    pub(crate) fn new(kind: Kind, callable: impl Into<String>) -> Self {
        let (django_settings, found_by) = (None, None);
        Self {
            kind,
            callable: callable.into(),
            django_settings,
            found_by,
            interface: Interface::Auto,
        }
    }

    /// What a person would write as the entry point.
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            Kind::Script(path) => format!("{}:{}", path.display(), self.callable),
            Kind::Module(module) => format!("{module}:{}", self.callable),
            Kind::Paste(path) | Kind::Static(path) => path.display().to_string(),
        }
    }
}
