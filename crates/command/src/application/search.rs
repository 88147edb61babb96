//! Looks for the application where none was named.

use super::served::{Application, Kind};
use super::{django, source};
use crate::failure::Failure;
use std::path::Path;

/// Files that are looked at, in this order.
const FILES: [&str; 4] = ["wsgi", "app", "main", "application"];

/// The application of this folder.
pub(crate) fn application(folder: &Path) -> Result<Application, Failure> {
    if let Some(found) = of_django(folder) {
        return Ok(found);
    }
    let mut asgi = None;
    for name in FILES {
        let path = folder.join(format!("{name}.py"));
        if !path.is_file() {
            continue;
        }
        if source::is_asgi(&path) {
            asgi = asgi.or(Some(name));
        } else if let Some(callable) = source::callable(&path) {
            return Ok(found(Kind::Module(name.to_owned()), &callable, &format!("{name}.py")));
        }
    }
    if let Some(path) = only_script(folder) {
        let callable = source::callable(&path).unwrap_or_else(|| "application".to_owned());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(found(Kind::Script(path), &callable, &name));
    }
    Err(Failure::usage(match asgi {
        Some(name) => format!(
            "{name}.py has an ASGI application, and start-server serves WSGI only; use ASGIScriptAlias in a \
             configuration of Apache, or an adapter such as a2wsgi"
        ),
        None => format!(
            "no application in {}: no manage.py, and no wsgi.py, app.py or main.py that has application, app or \
             create_app(); name it, as in mod_wsgi_rs start-server package.module:callable",
            folder.display()
        ),
    }))
}

fn found(kind: Kind, callable: &str, by: &str) -> Application {
    Application { found_by: Some(by.to_owned()), ..Application::new(kind, callable) }
}

fn of_django(folder: &Path) -> Option<Application> {
    let project = django::project(folder)?;
    Some(match project.application {
        Some((module, callable)) => found(Kind::Module(module), &callable, "manage.py"),
        None => Application {
            django_settings: Some(project.settings),
            ..found(Kind::Module("django.core.wsgi".into()), "get_wsgi_application()", "manage.py")
        },
    })
}

/// The folder's script with the suffix .wsgi, if there is exactly one.
fn only_script(folder: &Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut scripts = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wsgi"));
    let first = scripts.next()?;
    scripts.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_is_found_in_the_usual_files() {
        let root = std::env::temp_dir().join(format!("search-{}", std::process::id()));
        let made = |name: &str, files: &[(&str, &str)]| {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, text) in files {
                std::fs::write(folder.join(file), text).unwrap();
            }
            application(&folder).map(|found| found.name()).map_err(|why| why.to_string())
        };
        let found = [
            made("flask", &[("app.py", "app = 1\n"), ("main.py", "app = 1\n")]),
            made("second", &[("app.py", "x = 1\n"), ("main.py", "def create_app():\n")]),
            made("first", &[("app.py", "app = 1\n"), ("wsgi.py", "application = 1\n")]),
            made(
                "django",
                &[("manage.py", "DJANGO_SETTINGS_MODULE = 'conf'\n"), ("app.py", "app = 1\n")],
            ),
        ];
        let script = made("script", &[("hello.wsgi", "application = 1\n")]);
        let asgi = made("asgi", &[("main.py", "app = FastAPI()\n")]);
        let none = made("none", &[("tool.py", "app = 1\n")]);
        std::fs::remove_dir_all(&root).unwrap();
        let expected = [
            "app:app",
            "main:create_app()",
            "wsgi:application",
            "django.core.wsgi:get_wsgi_application()",
        ];
        assert_eq!(found, expected.map(|name| Ok(name.to_owned())));
        assert!(script.unwrap().ends_with("/script/hello.wsgi:application"));
        assert!(asgi.unwrap_err().contains("a2wsgi"));
        assert!(none.unwrap_err().contains("no application in"));
    }
}
