//! The entry point: from what was written to what is loaded.

use super::served::{Application, Kind};
use super::{django, interface, search, source};
use crate::failure::Failure;
use crate::options::{ApplicationType, EntryPoint, Interface};
use std::path::{Path, PathBuf};

/// Understands the options, or looks in `folder`, where relative paths begin too.
pub(crate) fn find(options: &EntryPoint, folder: &Path) -> Result<Application, Failure> {
    let mut found = named_or_searched(options, folder)?;
    found.interface = match options.interface {
        Interface::Auto => interface::seen(&found, folder),
        named => named,
    };
    Ok(found)
}

fn named_or_searched(options: &EntryPoint, folder: &Path) -> Result<Application, Failure> {
    let callable = options.callable_object.as_deref();
    if let Some(callable) = callable {
        check_callable("--callable-object", callable)?;
    }
    let written = options.entry_point.as_deref().or(options.script.as_deref());
    match (written, options.application_type) {
        (Some(text), Some(kind)) => typed(text, kind, callable, folder),
        (Some(text), None) => seen(text, callable, folder, options.interface),
        (None, Some(ApplicationType::Static)) => {
            typed(".", ApplicationType::Static, callable, folder)
        }
        (None, _) => {
            let mut found = search::application(folder, options.interface)?;
            if let Some(callable) = callable {
                callable.clone_into(&mut found.callable);
            }
            Ok(found)
        }
    }
}

fn typed(
    text: &str,
    kind: ApplicationType,
    callable: Option<&str>,
    folder: &Path,
) -> Result<Application, Failure> {
    let path = || existing(text, folder);
    match kind {
        ApplicationType::Script => script(path()?, callable),
        ApplicationType::Module => module(text, callable, folder),
        ApplicationType::Paste => Ok(Application::new(Kind::Paste(path()?), "application")),
        ApplicationType::Static => {
            let path = path()?;
            if !path.is_dir() {
                return Err(Failure::usage(format!("{text} is no folder")));
            }
            Ok(Application::new(Kind::Static(path), ""))
        }
    }
}

/// From its form: a file, a folder, `file:callable`, a module.
fn seen(
    text: &str,
    callable: Option<&str>,
    folder: &Path,
    interface: Interface,
) -> Result<Application, Failure> {
    let path = folder.join(text);
    if path.is_file() {
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("ini") => ApplicationType::Paste,
            _ => ApplicationType::Script,
        };
        return typed(text, kind, callable, folder);
    }
    if path.is_dir() {
        // A project's source is never served as files unless --application-type says so.
        if let Ok(found) = search::application(&path, interface) {
            let inside = path
                .canonicalize()
                .is_ok_and(|path| folder.canonicalize().is_ok_and(|folder| folder == path));
            if inside {
                return Ok(found);
            }
            return Err(Failure::usage(format!(
                "{text} is the folder of an application, {}; name it with --working-directory {text}, or serve its \
                 files with --application-type static",
                found.name()
            )));
        }
        return typed(text, ApplicationType::Static, callable, folder);
    }
    if let Some((file, name)) = text.rsplit_once(':')
        && folder.join(file).is_file()
    {
        check_callable(text, name)?;
        return script(existing(file, folder)?, Some(name));
    }
    let name = text.split(':').next().unwrap_or_default();
    // mysite.wsgi is Django's module wsgi of a package, unless it is meant as a file that is not there.
    let is_script_name = name.ends_with(".py")
        || (name.ends_with(".wsgi") && name == text && django::module_file(folder, name).is_none());
    if text.contains('/') || is_script_name || !is_module(name) {
        return Err(Failure::usage(format!(
            "{text}: there is no such file, and it is no module such as package.module:callable"
        )));
    }
    module(text, callable, folder)
}

fn existing(text: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join(text);
    path.canonicalize().map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
}

fn script(path: PathBuf, callable: Option<&str>) -> Result<Application, Failure> {
    if !path.is_file() {
        return Err(Failure::usage(format!("{} is no file", path.display())));
    }
    let seen = || source::callable(&path).unwrap_or_else(|| "application".to_owned());
    let callable = callable.map_or_else(seen, str::to_owned);
    Ok(Application::new(Kind::Script(path), callable))
}

fn module(text: &str, callable: Option<&str>, folder: &Path) -> Result<Application, Failure> {
    let (name, written) = match text.split_once(':') {
        Some((name, callable)) => (name, Some(callable)),
        None => (text, None),
    };
    if !is_module(name) {
        return Err(Failure::usage(format!("{text}: '{name}' is no name of a module")));
    }
    if let Some(written) = written {
        check_callable(text, written)?;
    }
    let seen = || django::module_file(folder, name).and_then(|file| source::callable(&file));
    let callable = written.or(callable).map(str::to_owned).or_else(seen);
    let callable = callable.unwrap_or_else(|| "application".to_owned());
    Ok(Application::new(Kind::Module(name.to_owned()), callable))
}

fn is_module(name: &str) -> bool {
    !name.is_empty() && name.split('.').all(is_identifier)
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|character| character.is_alphanumeric() || character == '_')
}

/// A callable is a dotted name, with the arguments of a call at its end.
fn check_callable(place: &str, callable: &str) -> Result<(), Failure> {
    let name = match callable.split_once('(') {
        Some((name, rest)) if rest.ends_with(')') => name,
        _ => callable,
    };
    if is_module(name) && !callable.contains(['\n', '\r', '\0']) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{place}: '{callable}' is no callable; it is a name such as app, or a call such as create_app()"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, folder: &Path) -> Result<Application, String> {
        seen(text, None, folder, Interface::Auto).map_err(|why| why.to_string())
    }

    #[test]
    fn entry_point_is_understood_from_its_form() {
        let root = std::env::temp_dir().join(format!("entry-{}", std::process::id()));
        std::fs::create_dir_all(root.join("public")).unwrap();
        std::fs::create_dir_all(root.join("site")).unwrap();
        let root = root.canonicalize().unwrap();
        std::fs::write(root.join("web.py"), "app = 1\n").unwrap();
        std::fs::write(root.join("site/app.py"), "app = 1\n").unwrap();
        std::fs::write(root.join("x.ini"), "").unwrap();
        std::fs::create_dir_all(root.join("mysite")).unwrap();
        std::fs::write(root.join("mysite/wsgi.py"), "").unwrap();
        let module =
            |name: &str, callable: &str| Application::new(Kind::Module(name.into()), callable);
        let script = |callable: &str| Application::new(Kind::Script(root.join("web.py")), callable);
        let cases = [
            ("web.py", Ok(script("app"))),
            ("web.py:other", Ok(script("other"))),
            ("web", Ok(module("web", "app"))),
            ("web:create_app()", Ok(module("web", "create_app()"))),
            ("a.b:make(1, x='y')", Ok(module("a.b", "make(1, x='y')"))),
            ("a.b", Ok(module("a.b", "application"))),
            ("x.ini", Ok(Application::new(Kind::Paste(root.join("x.ini")), "application"))),
            ("public", Ok(Application::new(Kind::Static(root.join("public")), ""))),
            ("none.py", Err("no such file")),
            ("no/file", Err("no such file")),
            ("none.wsgi", Err("no such file")),
            ("mysite.wsgi:application", Ok(module("mysite.wsgi", "application"))),
            ("mysite.wsgi", Ok(module("mysite.wsgi", "application"))),
            ("a.b:1", Err("is no callable")),
            ("a.b:f(", Err("is no callable")),
            ("site", Err("is the folder of an application")),
        ];
        let found: Vec<_> = cases.iter().map(|(text, _)| written(text, &root)).collect();
        std::fs::remove_dir_all(&root).unwrap();
        for ((text, expected), found) in cases.into_iter().zip(found) {
            match (expected, found) {
                (Ok(expected), found) => assert_eq!(found, Ok(expected), "{text}"),
                (Err(part), found) => assert!(found.unwrap_err().contains(part), "{text}"),
            }
        }
    }
}
