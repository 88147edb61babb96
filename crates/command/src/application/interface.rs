//! Which interface an application has, as far as the text of its files says. No code of the application runs here: where
//! the text does not say, each process of the server decides when it has loaded the application.

use super::served::{Application, Kind};
use super::{django, source};
use crate::options::Interface;
use crate::text_file;
use std::path::{Path, PathBuf};

/// What stands in files that make an application of ASGI.
const ASGI: [&str; 10] = [
    "FastAPI(",
    "Starlette(",
    "Litestar(",
    "Quart(",
    "ProtocolTypeRouter(",
    "get_asgi_application(",
    "falcon.asgi",
    "from blacksheep ",
    "scope, receive, send",
    "async def app(",
];
/// And in those that make one of WSGI.
const WSGI: [&str; 7] = [
    "Flask(",
    "Bottle(",
    "get_wsgi_application(",
    "make_wsgi_app(",
    "falcon.App(",
    "falcon.API(",
    "start_response",
];
/// What has one interface on one side and the other on the other side.
const ADAPTERS: [&str; 5] =
    ["a2wsgi", "WsgiToAsgi(", "AsgiToWsgi(", "WSGIMiddleware(", "ASGIMiddleware("];
/// How far imports are followed.
const DEPTH: usize = 4;

/// The interface of an application, found from `folder`; `Auto` where that is not seen.
pub(super) fn seen(application: &Application, folder: &Path) -> Interface {
    let file = match &application.kind {
        Kind::Script(file) => Some(file.clone()),
        Kind::Module(name) if name == "django.core.wsgi" => return Interface::Wsgi,
        Kind::Module(name) if name == "django.core.asgi" => return Interface::Asgi,
        Kind::Module(name) => django::module_file(folder, name),
        Kind::Paste(_) | Kind::Static(_) => return Interface::Wsgi,
    };
    let Some(file) = file else { return Interface::Auto };
    let name = application.callable.split(['(', '.']).next().unwrap_or_default();
    of_file(&file, name, folder, DEPTH)
}

/// That of a name of a file, which may come from another file.
fn of_file(file: &Path, name: &str, folder: &Path, depth: usize) -> Interface {
    let text = text_file::text(file).unwrap_or_default();
    match of_text(&text) {
        Interface::Auto if depth > 0 => {
            // Of `app = create_app()` it is `create_app` that comes from another file.
            let value = text.lines().find_map(|line| source::assigned(line, name));
            let name = value.map_or(name, |value| value.split(['(', '.']).next().unwrap_or(name));
            let other = text.lines().find_map(|line| source::imported(line, name));
            let Some((module, original)) = other else { return Interface::Auto };
            let Some(other) = file_of_module(file, module, folder) else { return Interface::Auto };
            of_file(&other, original.unwrap_or(name), folder, depth - 1)
        }
        found => found,
    }
}

fn of_text(text: &str) -> Interface {
    let code = || text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let has = |signs: &[&str]| code().any(|line| signs.iter().any(|sign| line.contains(sign)));
    match (has(&ASGI), has(&WSGI), has(&ADAPTERS)) {
        (true, false, false) => Interface::Asgi,
        (false, true, false) => Interface::Wsgi,
        _ => Interface::Auto,
    }
}

/// The file of a module that `file` imports: `.module` begins in its own folder.
fn file_of_module(file: &Path, module: &str, folder: &Path) -> Option<PathBuf> {
    let beside = file.parent()?;
    let name = module.trim_start_matches('.');
    match module.len() - name.len() {
        0 => django::module_file(folder, name).or_else(|| django::module_file(beside, name)),
        dots => {
            let package = beside.ancestors().nth(dots - 1)?;
            django::module_file(package, name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_is_seen_in_the_text_of_the_file_or_of_one_that_it_imports() {
        let root = std::env::temp_dir().join(format!("interface-{}", std::process::id()));
        std::fs::create_dir_all(root.join("shop/web")).unwrap();
        let cases = [
            ("fast.py", "app = FastAPI()\n", Interface::Asgi),
            ("own.py", "async def application(scope, receive, send):\n", Interface::Asgi),
            ("flask.py", "app = Flask(__name__)\n", Interface::Wsgi),
            ("pep.py", "def app(environ, start_response):\n", Interface::Wsgi),
            ("comment.py", "# app = FastAPI()\napp = make()\n", Interface::Auto),
            ("adapter.py", "app = ASGIMiddleware(FastAPI())\n", Interface::Auto),
            ("two.py", "app = FastAPI()\nadmin = Flask(__name__)\n", Interface::Auto),
            ("moved.py", "from shop import main as app\n", Interface::Asgi),
            (
                "factory.py",
                "from flask import create_app\napp = create_app('x')\n",
                Interface::Wsgi,
            ),
            ("named.py", "from flask import app  # of this site\n", Interface::Wsgi),
            ("endless.py", "from endless import app\n", Interface::Auto),
            ("foreign.py", "from elsewhere import app\n", Interface::Auto),
            ("shop/__init__.py", "from .web.main import main\n", Interface::Asgi),
            ("shop/web/main.py", "from ..core import app as main\n", Interface::Asgi),
            ("shop/core.py", "app = Starlette()\n", Interface::Asgi),
        ];
        for (name, text, _) in cases {
            std::fs::write(root.join(name), text).unwrap();
        }
        let found = cases.map(|(name, _, _)| {
            let callable = match name {
                "own.py" => "application",
                "shop/__init__.py" | "shop/web/main.py" => "main",
                _ => "app",
            };
            seen(&Application::new(Kind::Script(root.join(name)), callable), &root)
        });
        let module = seen(&Application::new(Kind::Module("shop.core".into()), "app.state"), &root);
        std::fs::remove_dir_all(&root).unwrap();
        for ((name, _, expected), found) in cases.into_iter().zip(found) {
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(module, Interface::Asgi);
    }
}
