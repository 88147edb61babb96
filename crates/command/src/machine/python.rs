//! Which Python an application runs in: a virtual environment or a prefix. Nothing is asked of that Python; whether the
//! module can use it is judged by the module.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// A Python environment, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    /// The value of `python-home`; `None` is the Python that the module was built for.
    pub(crate) home: Option<PathBuf>,
    /// As in `VIRTUAL_ENV`.
    pub(crate) reason: &'static str,
}

impl Python {
    /// `option`: `--python-home`. `folder`: where the application runs.
    pub(crate) fn find(option: Option<&Path>, folder: &Path) -> Result<Self, Failure> {
        let variable = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
        let program = std::env::current_exe().ok();
        choose(option, variable.as_deref(), folder, program.as_deref())
    }
}

fn choose(
    option: Option<&Path>,
    variable: Option<&Path>,
    folder: &Path,
    program: Option<&Path>,
) -> Result<Python, Failure> {
    let home = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Some(path) = option {
        // bin/python of an environment is meant as the environment.
        let path = match path.parent().filter(|bin| bin.ends_with("bin") && path.is_file()) {
            Some(bin) => bin.parent().unwrap_or(path),
            None => path,
        };
        if !path.is_dir() {
            return Err(Failure::usage(format!(
                "--python-home {}: no such folder",
                path.display()
            )));
        }
        return Ok(Python { home: Some(home(path)), reason: "--python-home" });
    }
    let installed = program.and_then(|program| program.parent()?.parent());
    let candidates = [
        (variable.map(Path::to_owned), "VIRTUAL_ENV"),
        (Some(folder.join(".venv")), "found in the working directory"),
        (Some(folder.join("venv")), "found in the working directory"),
        (installed.map(Path::to_owned), "the command is installed there"),
    ];
    for (path, reason) in candidates {
        if let Some(path) = path.filter(|path| path.join("pyvenv.cfg").is_file()) {
            return Ok(Python { home: Some(home(&path)), reason });
        }
    }
    // The prefix of a Python that is no virtual environment: pyenv's, uv's, an environment of conda.
    if let Some(prefix) = installed.filter(|prefix| of_wheel(prefix)) {
        let reason = "the command is installed there";
        return Ok(Python { home: Some(home(prefix)), reason });
    }
    Ok(Python { home: None, reason: "the module's own" })
}

/// Whether a Python has its packages in this prefix, and the wheel is one of them.
fn of_wheel(prefix: &Path) -> bool {
    let Ok(libraries) = std::fs::read_dir(prefix.join("lib")) else { return false };
    libraries.flatten().any(|library| {
        let python = prefix.join("bin").join(library.file_name());
        python.is_file() && library.path().join("site-packages/mod_wsgi_rs/modules").is_dir()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_is_that_of_the_python_that_the_wheel_is_installed_in() {
        let root = std::env::temp_dir().join(format!("python-of-wheel-{}", std::process::id()));
        let packages = root.join("lib/python3.12/site-packages/mod_wsgi_rs/modules");
        std::fs::create_dir_all(packages).unwrap();
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let program = root.join("bin/mod_wsgi_rs");
        let found = || choose(None, None, &root, Some(&program)).unwrap().home;
        // pip install --user: the Python is not in that prefix.
        let without = found();
        std::fs::write(root.join("bin/python3.12"), "").unwrap();
        let with = found();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!((without, with), (None, Some(root)));
    }

    #[test]
    fn environment_is_that_of_option_variable_folder_and_program_in_this_order() {
        let root = std::env::temp_dir().join(format!("python-home-{}", std::process::id()));
        for name in ["option", "variable", "site/.venv", "installed/bin"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["variable", "site/.venv", "installed"] {
            std::fs::write(root.join(name).join("pyvenv.cfg"), "").unwrap();
        }
        let (option, variable) = (root.join("option"), root.join("variable"));
        let (site, program) = (root.join("site"), root.join("installed/bin/mod_wsgi_rs"));
        let home = |option: Option<&Path>, variable: Option<&Path>, folder: &Path| {
            choose(option, variable, folder, Some(&program)).map(|python| python.home)
        };
        let found = [
            home(Some(&option), Some(&variable), &site).unwrap(),
            home(None, Some(&variable), &site).unwrap(),
            home(None, None, &site).unwrap(),
            home(None, None, &root).unwrap(),
            choose(None, None, &root, None).unwrap().home,
        ];
        let missing = home(Some(&root.join("none")), None, &site).unwrap_err().to_string();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            found,
            [
                Some(option),
                Some(variable),
                Some(site.join(".venv")),
                Some(root.join("installed")),
                None
            ]
        );
        assert!(missing.ends_with("no such folder"), "{missing}");
    }
}
