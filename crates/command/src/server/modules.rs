//! Which of Apache's modules a server needs.

use crate::failure::Failure;
use crate::machine::Apache;
use serde::Serialize;

/// A module that is loaded from a file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Module {
    /// As in `mime`.
    pub(crate) name: String,
    pub(crate) file: String,
}

/// The multi-processing module, as in `event`: the first one of `wanted` that there is.
pub(crate) fn mpm(apache: &Apache, wanted: &[String]) -> Result<String, Failure> {
    let usual = ["event", "worker", "prefork"].map(str::to_owned);
    let wanted = if wanted.is_empty() { &usual[..] } else { wanted };
    let found = wanted.iter().find(|name| apache.has(&format!("mpm_{name}")));
    found.cloned().ok_or_else(|| {
        Failure::usage(format!("--server-mpm: Apache has none of {}", wanted.join(", ")))
    })
}

/// The files of these modules, without those that are part of the program.
pub(crate) fn files(apache: &Apache, names: &[&str]) -> Result<Vec<Module>, Failure> {
    let mut modules: Vec<Module> = Vec::new();
    for &name in names {
        if modules.iter().any(|module| module.name == name) {
            continue;
        }
        let Some(file) = apache.module_file(name) else { continue };
        if !file.exists() {
            return Err(Failure::server(format!(
                "Apache has no module {name}: {} is missing",
                file.display()
            )));
        }
        modules.push(Module { name: name.to_owned(), file: file.display().to_string() });
    }
    Ok(modules)
}
