//! module-location, module-config, install-module.
#![forbid(unsafe_code)]

use crate::failure::Failure;
use crate::machine::{Apache, ModuleFiles, Python};
use crate::options::{InstallModule, ModuleConfig, ModuleLocation};
use std::path::Path;

/// The module's path.
pub(crate) fn location(options: &ModuleLocation) -> Result<String, Failure> {
    Ok(format!("{}\n", ModuleFiles::find(&options.programs)?.module.display()))
}

/// The lines that load the module.
pub(crate) fn config(options: &ModuleConfig) -> Result<String, Failure> {
    let files = ModuleFiles::find(&options.programs)?;
    lines(&files, options.python_home.as_deref())
}

/// Copies the files, and says what to write into the configuration.
pub(crate) fn install(options: &InstallModule) -> Result<String, Failure> {
    let files = ModuleFiles::find(&options.programs)?;
    let folder = match &options.programs.modules_directory {
        Some(folder) => folder.clone(),
        None => Apache::find(&options.programs)?.modules,
    };
    let (installed, _) = files.install(&folder)?;
    lines(&installed, options.python_home.as_deref())
}

fn lines(files: &ModuleFiles, python_home: Option<&Path>) -> Result<String, Failure> {
    let folder = std::env::current_dir().unwrap_or_default();
    let python = Python::find(python_home, &folder)?;
    let mut text = format!("LoadModule wsgi_module \"{}\"\n", files.module.display());
    if let Some(home) = python.home {
        text.push_str(&format!("WSGIPythonHome \"{}\"\n", home.display()));
    }
    Ok(text)
}
