//! The application: the script that the alias names, and what a generated one loads.

use super::facts::Facts;
use crate::application::Kind;
use crate::options::Interface;
use serde::Serialize;
use std::path::Path;

/// What a generated script loads.
#[derive(Debug, Serialize)]
pub(crate) struct App {
    /// The server root has a script that loads the application.
    pub(crate) is_generated: bool,
    callable: String,
    module: Option<String>,
    script: Option<String>,
    /// The name of the module that a script is loaded as.
    script_module: String,
    paste: Option<String>,
    django_settings: Option<String>,
    interface: Interface,
    /// By which a script decides where the interface is not known.
    decision: &'static str,
}

/// In Python. Processes decide by the same text.
const DECISION: &str = include_str!("../../../../host/src/interpreters/interface.py");

/// Where the alias leads.
#[derive(Debug, Serialize)]
pub(super) struct Script {
    path: String,
    folder: String,
    name: String,
    callable: String,
}

impl App {
    /// `script_module` is the file's own name where that can be a module's.
    pub(crate) fn new(facts: &Facts<'_>) -> Self {
        let app = facts.application;
        let (mut module, mut script, mut paste) = (None, None, None);
        let mut script_module = "_mod_wsgi_script".to_owned();
        match &app.kind {
            Kind::Module(name) => module = Some(name.clone()),
            Kind::Script(file) => {
                script = Some(Facts::path(file));
                if let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) {
                    script_module = format!("_mod_wsgi_script_{stem}");
                }
            }
            Kind::Paste(file) => paste = Some(Facts::path(file)),
            Kind::Static(_) => {}
        }
        // A directive takes a name, or a call without arguments; dots and arguments are for Python.
        let name = app.callable.strip_suffix("()").unwrap_or(&app.callable);
        let is_expression = name.contains(['(', '.']);
        let is_generated = module.is_some()
            || paste.is_some()
            || (script.is_some() && (facts.is_development() || is_expression));
        Self {
            is_generated,
            callable: app.callable.clone(),
            module,
            script,
            script_module,
            paste,
            django_settings: app.django_settings.clone(),
            interface: app.interface,
            decision: DECISION,
        }
    }

    /// The script that the alias names; `None` where there is no application.
    pub(super) fn target(&self, facts: &Facts<'_>) -> Option<Script> {
        let (path, callable) = match &self.script {
            _ if self.is_generated => (facts.in_root("application.wsgi"), "application"),
            Some(script) => (script.clone(), self.callable.as_str()),
            None => return None,
        };
        let part = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        let file = Path::new(&path);
        Some(Script {
            folder: part(file.parent().map(Path::as_os_str)),
            name: part(file.file_name()),
            callable: callable.to_owned(),
            path,
        })
    }
}
