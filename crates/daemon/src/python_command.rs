//! The command line and the variables that the Python of an environment is run with, so that it starts as the group's
//! options say and then loads the extension. What it finds of them is put back before an application runs.
#![forbid(unsafe_code)]

use group_config::{Python, PythonProgram};
use std::ffi::{CString, NulError, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A variable and what it is set to; `None`: it is not set.
pub(crate) type Restored = (String, Option<OsString>);

/// What Python runs.
const BOOTSTRAP: &str = include_str!("bootstrap.py");
/// The variables that are another one's where the group's options are stronger.
const HASH_SEED: &str = "PYTHONHASHSEED";
const HOME: &str = "PYTHONHOME";

/// The arguments of Python, which loads the extension that is open as `extension`, with the start parameters that are in
/// `parameters`.
///
/// # Errors
/// Where an option has a NUL byte.
pub(crate) fn arguments(
    program: &PythonProgram,
    python: &Python,
    extension: RawFd,
    parameters: RawFd,
) -> Result<Vec<CString>, NulError> {
    // Python finds its environment by the name that it is called by.
    let mut arguments = vec![CString::new(program.executable.as_os_str().as_bytes())?];
    if !python.write_bytecode {
        arguments.push(c"-B".to_owned());
    }
    for _ in 0..python.optimize {
        arguments.push(c"-O".to_owned());
    }
    for warning in &python.warnings {
        arguments.extend([c"-W".to_owned(), CString::new(warning.as_bytes())?]);
    }
    if is_free_threaded(program) {
        // Stronger than PYTHON_GIL. Left alone, extensions would decide.
        let gil = if python.free_threading { c"gil=0" } else { c"gil=1" };
        arguments.extend([c"-X".to_owned(), gil.to_owned()]);
    }
    arguments.extend([c"-c".to_owned(), CString::new(BOOTSTRAP)?]);
    arguments.push(CString::new(program.version.as_bytes())?);
    arguments.push(CString::new(extension.to_string())?);
    arguments.push(CString::new(parameters.to_string())?);
    Ok(arguments)
}

fn is_free_threaded(program: &PythonProgram) -> bool {
    program.version.ends_with('t')
}

/// The variables that Python starts with, of those of this process, and those to be set again once it has started.
pub(crate) fn variables(
    python: &Python,
    all: impl Iterator<Item = (OsString, OsString)>,
) -> (Vec<(OsString, OsString)>, Vec<Restored>) {
    let mut replaced = vec![(HASH_SEED, python.hash_seed.map(|seed| seed.to_string()))];
    // A prefix that is configured is stronger; a virtual environment is found beside it.
    let is_prefix = |home: &PathBuf| !home.join("pyvenv.cfg").exists();
    if python.home.as_ref().is_some_and(is_prefix) {
        replaced.push((HOME, None));
    }
    let (own, mut passed): (Vec<_>, Vec<_>) =
        all.partition(|(name, _)| replaced.iter().any(|(replaced, _)| name == replaced));
    let mut restored = Vec::new();
    for (name, value) in replaced {
        let before = own.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        if let Some(value) = &value {
            passed.push((name.into(), value.into()));
        }
        if before != value.map(OsString::from) {
            restored.push((name.to_owned(), before));
        }
    }
    (passed, restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(version: &str) -> PythonProgram {
        PythonProgram { executable: "/venv/bin/python".into(), version: version.to_owned() }
    }

    fn line(version: &str, python: &Python) -> String {
        let arguments = arguments(&program(version), python, 7, 8).unwrap();
        let words = arguments.iter().map(|it| it.to_str().unwrap()).filter(|it| *it != BOOTSTRAP);
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_of_the_group_are_those_of_a_command_line() {
        let python = Python::default();
        assert_eq!(line("3.11", &python), "/venv/bin/python -c 3.11 7 8");
        let python = Python {
            optimize: 2,
            write_bytecode: false,
            warnings: vec!["error".to_owned(), "ignore::UserWarning".to_owned()],
            ..python
        };
        let options = "-B -O -O -W error -W ignore::UserWarning";
        assert_eq!(line("3.11", &python), format!("/venv/bin/python {options} -c 3.11 7 8"));
        let python = Python { free_threading: true, ..Python::default() };
        assert_eq!(line("3.13", &python), "/venv/bin/python -c 3.13 7 8");
        assert_eq!(line("3.13t", &python), "/venv/bin/python -X gil=0 -c 3.13t 7 8");
        let locked = line("3.13t", &Python::default());
        assert_eq!(locked, "/venv/bin/python -X gil=1 -c 3.13t 7 8");
    }

    #[test]
    fn variables_that_options_are_stronger_than_are_put_back() {
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let seen =
            |python: &Python, all: &[(OsString, OsString)]| variables(python, all.iter().cloned());
        let path = pair("PATH", "/bin");
        let random = Python::default();
        let (passed, restored) = seen(&random, std::slice::from_ref(&path));
        assert_eq!((passed, restored), (vec![path.clone()], vec![]));

        let seeded = [path.clone(), pair("PYTHONHASHSEED", "5")];
        let (passed, restored) = seen(&random, &seeded);
        assert_eq!(passed, vec![path.clone()]);
        assert_eq!(restored, vec![("PYTHONHASHSEED".to_owned(), Some(OsString::from("5")))]);

        let fixed = Python { hash_seed: Some(7), ..Python::default() };
        let (passed, restored) = seen(&fixed, std::slice::from_ref(&path));
        assert_eq!(passed, vec![path.clone(), pair("PYTHONHASHSEED", "7")]);
        assert_eq!(restored, vec![("PYTHONHASHSEED".to_owned(), None)]);

        let prefix = Python { home: Some("/no/such/prefix".into()), ..Python::default() };
        let (passed, restored) = seen(&prefix, &[path.clone(), pair("PYTHONHOME", "/other")]);
        assert_eq!(passed, vec![path]);
        assert_eq!(restored, vec![("PYTHONHOME".to_owned(), Some(OsString::from("/other")))]);
    }
}
