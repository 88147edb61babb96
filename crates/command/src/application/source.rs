//! What the text of a Python file says: which names it binds at its top level. No parser, so that a file with an error in
//! it is understood as well as it can be.

use std::path::Path;

/// Names that applications have, in the order in which they are taken.
const APPLICATIONS: [&str; 2] = ["application", "app"];
/// Functions that make one.
const FACTORIES: [&str; 2] = ["create_app", "make_app"];
/// What an ASGI application is made by.
const ASGI: [&str; 4] = ["FastAPI(", "Starlette(", "get_asgi_application(", "Litestar("];

/// The callable of a file: a name, or a call such as `create_app()`; `None` where none is seen.
pub(crate) fn callable(path: &Path) -> Option<String> {
    callable_in(&std::fs::read_to_string(path).ok()?)
}

/// Whether the file makes an ASGI application.
pub(crate) fn is_asgi(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    code.into_iter().any(|line| ASGI.iter().any(|call| line.contains(call)))
}

fn callable_in(text: &str) -> Option<String> {
    if let Some(name) = APPLICATIONS.iter().find(|name| binds(text, name)) {
        return Some((*name).to_owned());
    }
    FACTORIES.iter().find(|name| binds(text, name)).map(|name| format!("{name}()"))
}

/// Whether a line of the top level gives the name a value: an assignment, a function, a class or an import.
pub(crate) fn binds(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let Some(rest) = line.strip_prefix("from ").or_else(|| line.strip_prefix("import ")) else {
            return is_assignment(line, name) || is_definition(line, name);
        };
        let code = rest.split('#').next().unwrap_or_default();
        let names = code.split_once(" import ").map_or(code, |(_, names)| names);
        names.split(',').any(|item| {
            let item = item.trim().trim_matches(['(', ')']).trim();
            item.rsplit_once(" as ").map_or(item, |(_, alias)| alias.trim()) == name
        })
    })
}

fn is_assignment(line: &str, name: &str) -> bool {
    let Some(rest) = line.strip_prefix(name) else { return false };
    let rest = rest.trim_start();
    (rest.starts_with('=') && !rest.starts_with("=="))
        || (rest.starts_with(':') && rest.contains('='))
}

fn is_definition(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix("async ").unwrap_or(line);
    let rest = rest.strip_prefix("def ").or_else(|| rest.strip_prefix("class "));
    let rest = rest.and_then(|rest| rest.trim_start().strip_prefix(name));
    rest.is_some_and(|rest| rest.trim_start().starts_with(['(', ':']))
}

/// The value of the first `name = "text"` or `"name", "text"` in the text.
pub(crate) fn text_after(text: &str, name: &str) -> Option<String> {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).find_map(|line| {
        let rest = line.split_once(name)?.1;
        let rest = rest.trim_start_matches(['"', '\'']).trim_start();
        let rest = rest.strip_prefix(['=', ',', ']'])?.trim_start_matches([' ', '=']);
        let quote = rest.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
        rest[1..].split_once(quote).map(|(value, _)| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callable_is_application_then_app_then_a_factory() {
        let cases = [
            ("app = Flask(__name__)\n", Some("app")),
            ("application: WSGI = x\napp = 1\n", Some("application")),
            ("def application(environ, start_response):\n", Some("application")),
            ("class application:\n", Some("application")),
            ("from site import app as application\n", Some("application")),
            ("from site import (db, app)  # both\n", Some("app")),
            ("def create_app(config=None):\n    app = 1\n", Some("create_app()")),
            ("apple = 1\napp == 2\n", None),
            ("    app = 1\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(callable_in(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn text_is_found_in_calls_assignments_and_items() {
        let name = "DJANGO_SETTINGS_MODULE";
        for text in [
            "    os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"a.b\")\n",
            "os.environ['DJANGO_SETTINGS_MODULE'] = 'a.b'\n",
            "# DJANGO_SETTINGS_MODULE = 'x'\nDJANGO_SETTINGS_MODULE = 'a.b'\n",
        ] {
            assert_eq!(text_after(text, name).as_deref(), Some("a.b"), "{text}");
        }
        assert_eq!(text_after("DJANGO_SETTINGS_MODULE = name\n", name), None);
    }
}
