//! What the text of a Python file says: which names it binds at its top level. No parser, so that a file with an error in
//! it is understood as well as it can be.

use crate::text_file;
use std::path::Path;

/// Names that applications have, in the order in which they are taken.
const APPLICATIONS: [&str; 2] = ["application", "app"];
/// Functions that make one.
const FACTORIES: [&str; 2] = ["create_app", "make_app"];

/// The callable of a file: a name, or a call such as `create_app()`; `None` where none is seen.
pub(crate) fn callable(path: &Path) -> Option<String> {
    callable_in(&text_file::text(path).ok()?)
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
        is_assignment(line, name) || is_definition(line, name) || imported(line, name).is_some()
    })
}

/// Where a line of the top level imports the name from: a module, which may be relative, and its name there; `None` for
/// the latter: the name is that of a module.
pub(super) fn imported<'a>(line: &'a str, name: &str) -> Option<(&'a str, Option<&'a str>)> {
    let code = line.split('#').next().unwrap_or_default();
    let (module, names) = match code.strip_prefix("from ") {
        Some(rest) => rest.split_once(" import ").map(|(module, names)| (Some(module), names))?,
        None => (None, code.strip_prefix("import ")?),
    };
    names.split(',').find_map(|item| {
        let item = item.trim().trim_matches(['(', ')']).trim();
        let (original, alias) = match item.rsplit_once(" as ") {
            Some((original, alias)) => (original.trim(), alias.trim()),
            None => (item, item),
        };
        (alias == name).then_some(match module {
            Some(module) => (module.trim(), Some(original)),
            None => (original, None),
        })
    })
}

fn is_assignment(line: &str, name: &str) -> bool {
    assigned(line, name).is_some()
}

/// What a line of the top level assigns to the name.
pub(super) fn assigned<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?.trim_start();
    let value = match rest.strip_prefix('=') {
        Some(value) if !value.starts_with('=') => value,
        Some(_) => return None,
        None => rest.strip_prefix(':')?.split_once('=')?.1,
    };
    Some(value.trim_start())
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
