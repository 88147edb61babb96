//! Options that say what is served. They never look at a file.

use clap::{Args, ValueEnum};

/// How the entry point is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
pub(crate) enum ApplicationType {
    /// A WSGI script file.
    Script,
    /// A module of Python.
    Module,
    /// An ini file of Paste Deploy.
    Paste,
    /// A folder of files; no Python.
    Static,
}

/// The interface between server and application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Interface {
    /// That of the application: seen from the text of its files, else decided by each process.
    Auto,
    /// PEP 3333.
    Wsgi,
    /// ASGI 3.
    Asgi,
}

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "What to serve")]
pub(crate) struct EntryPoint {
    /// a script file, `package.module:callable`, a factory `module:create_app()`, an ini file, a folder of static files;
    /// without it the command looks for manage.py, wsgi.py, app.py, main.py, asgi.py
    #[arg(value_name = "APPLICATION")]
    pub(crate) script: Option<String>,
    /// the same as APPLICATION
    #[arg(long, value_name = "APPLICATION")]
    pub(crate) entry_point: Option<String>,
    /// how APPLICATION is understood; by default it is seen from its form
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) application_type: Option<ApplicationType>,
    /// interface of the application: FastAPI, Starlette and others are asgi, Flask is wsgi, Django has both
    #[arg(long, value_enum, value_name = "INTERFACE", default_value = "auto")]
    pub(crate) interface: Interface,
    /// name of the application in its script or module, or a call such as `create_app()` [default: application, or app where
    /// only that is there]
    #[arg(long, value_name = "NAME")]
    pub(crate) callable_object: Option<String>,
    /// interpreter in which the application runs
    #[arg(long, value_name = "NAME", default_value = "%{GLOBAL}")]
    pub(crate) application_group: String,
    /// name of the group of processes [default: HOST:PORT]
    #[arg(long, value_name = "NAME")]
    pub(crate) process_group: Option<String>,
    /// URL path at which the application is
    #[arg(long, value_name = "URL-PATH", default_value = "/")]
    pub(crate) mount_point: String,
}
