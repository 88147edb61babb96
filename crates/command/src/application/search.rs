//! Looks for the application where none was named.

use super::served::{Application, Kind};
use super::{django, interface, source};
use crate::failure::Failure;
use crate::options::Interface;
use std::path::Path;

/// Files that are looked at, in this order.
const FILES: [&str; 5] = ["wsgi", "app", "main", "asgi", "application"];

/// The application of this folder. One of WSGI stands before one of ASGI in another file, unless `wanted` says so.
pub(crate) fn application(folder: &Path, wanted: Interface) -> Result<Application, Failure> {
    if let Some(found) = of_django(folder, wanted) {
        return Ok(found);
    }
    let mut asgi = None;
    for name in FILES {
        let path = folder.join(format!("{name}.py"));
        let Some(callable) = source::callable(&path) else { continue };
        let found = found(Kind::Module(name.to_owned()), &callable, &format!("{name}.py"));
        match (interface::seen(&found, folder), wanted) {
            (Interface::Asgi, Interface::Auto) => asgi = asgi.or(Some(found)),
            (Interface::Asgi, Interface::Wsgi) | (Interface::Wsgi, Interface::Asgi) => {}
            _ => return Ok(found),
        }
    }
    if let Some(path) = only_script(folder) {
        let callable = source::callable(&path).unwrap_or_else(|| "application".to_owned());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(found(Kind::Script(path), &callable, &name));
    }
    asgi.ok_or_else(|| {
        Failure::usage(format!(
            "no application in {}: no manage.py, and no wsgi.py, app.py, main.py or asgi.py that has application, app \
             or create_app(){}; name it, as in mod_wsgi_rs start-server package.module:callable",
            folder.display(),
            match wanted {
                Interface::Auto => "",
                Interface::Wsgi => " of WSGI",
                Interface::Asgi => " of ASGI",
            }
        ))
    })
}

fn found(kind: Kind, callable: &str, by: &str) -> Application {
    Application { found_by: Some(by.to_owned()), ..Application::new(kind, callable) }
}

fn of_django(folder: &Path, interface: Interface) -> Option<Application> {
    let project = django::project(folder, interface)?;
    let (module, function) = match interface {
        Interface::Asgi => ("django.core.asgi", "get_asgi_application()"),
        Interface::Wsgi | Interface::Auto => ("django.core.wsgi", "get_wsgi_application()"),
    };
    Some(match project.application {
        Some((module, callable)) => found(Kind::Module(module), &callable, "manage.py"),
        None => Application {
            django_settings: Some(project.settings),
            ..found(Kind::Module(module.into()), function, "manage.py")
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
        let made = |name: &str, wanted: Interface, files: &[(&str, &str)]| {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, text) in files {
                std::fs::write(folder.join(file), text).unwrap();
            }
            application(&folder, wanted).map(|found| found.name()).map_err(|why| why.to_string())
        };
        let (flask, fast) = ("app = Flask(__name__)\n", "app = FastAPI()\n");
        let django = "DJANGO_SETTINGS_MODULE = 'conf'\n";
        let (auto, wsgi, asgi) = (Interface::Auto, Interface::Wsgi, Interface::Asgi);
        let found = [
            made("flask", auto, &[("app.py", "app = 1\n"), ("main.py", "app = 1\n")]),
            made("second", auto, &[("app.py", "x = 1\n"), ("main.py", "def create_app():\n")]),
            made("first", auto, &[("app.py", "app = 1\n"), ("wsgi.py", "application = 1\n")]),
            made("django", auto, &[("manage.py", django), ("app.py", "app = 1\n")]),
            made("channels", asgi, &[("manage.py", django), ("app.py", "app = 1\n")]),
            made("asgi", auto, &[("main.py", fast)]),
            made("both", auto, &[("app.py", fast), ("main.py", flask)]),
            made("wanted", asgi, &[("app.py", flask), ("main.py", fast)]),
            made("runner", auto, &[("app.py", fast), ("main.py", "from app import app\n")]),
        ];
        let script = made("script", auto, &[("hello.wsgi", "application = 1\n")]);
        let other = made("other", wsgi, &[("main.py", fast)]);
        let none = made("none", auto, &[("tool.py", "app = 1\n")]);
        std::fs::remove_dir_all(&root).unwrap();
        let expected = [
            "app:app",
            "main:create_app()",
            "wsgi:application",
            "django.core.wsgi:get_wsgi_application()",
            "django.core.asgi:get_asgi_application()",
            "main:app",
            "main:app",
            "main:app",
            "app:app",
        ];
        assert_eq!(found, expected.map(|name| Ok(name.to_owned())));
        assert!(script.unwrap().ends_with("/script/hello.wsgi:application"));
        assert!(other.unwrap_err().contains("create_app() of WSGI;"));
        assert!(none.unwrap_err().contains("no application in"));
    }
}
