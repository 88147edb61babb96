//! From templates to text. Values get into Apache's configuration, Python and the shell through filters that quote them.

use crate::failure::Failure;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use serde::Serialize;

const TEMPLATES: [(&str, &str); 7] = [
    ("httpd.conf", include_str!("../../templates/httpd.conf.jinja")),
    ("virtual-hosts", include_str!("../../templates/virtual-hosts.jinja")),
    ("apachectl", include_str!("../../templates/apachectl.jinja")),
    ("variables", include_str!("../../templates/variables.jinja")),
    ("unit", include_str!("../../templates/unit.jinja")),
    ("application.wsgi", include_str!("../../templates/application.wsgi.jinja")),
    ("development.wsgi", include_str!("../../templates/development.wsgi.jinja")),
];

/// Fills a template.
pub(crate) fn render(name: &str, values: &impl Serialize) -> Result<String, Failure> {
    let failed = |why: &Error| {
        let mut text = why.to_string();
        let mut source = std::error::Error::source(why);
        while let Some(why) = source {
            text.push_str(&format!(": {why}"));
            source = why.source();
        }
        Failure::usage(format!("{name}: {text}"))
    };
    let environment = environment().map_err(|why| failed(&why))?;
    let template = environment.get_template(name).map_err(|why| failed(&why))?;
    template.render(Serde(values)).map_err(|why| failed(&why))
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("conf", |value: Value| quoted(&value, apache));
    environment.add_filter("python", |value: Value| quoted(&value, python));
    environment.add_filter("shell", |value: Value| quoted(&value, shell));
    environment.add_filter("regex", |value: Value| quoted(&value, regex));
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

fn quoted(value: &Value, quote: fn(&str) -> String) -> Result<String, Error> {
    let text = value.to_string();
    if value.is_undefined() || value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is missing"));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{text:?} has a control character"),
        ));
    }
    Ok(quote(&text))
}

/// An argument of a directive.
fn apache(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A literal of Python.
fn python(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word of the shell.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A text in a regular expression, without quotes.
fn regex(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if !character.is_alphanumeric() && !['/', '-', '_'].contains(&character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_where_they_stand() {
        let quote = |text: &str, quote| quoted(&Value::from(text), quote);
        assert_eq!(quote("a \"b\" \\c", apache).unwrap(), r#""a \"b\" \\c""#);
        assert_eq!(quote("it's", shell).unwrap(), r"'it'\''s'");
        assert_eq!(quote("/a.b+c", regex).unwrap(), r"/a\.b\+c");
        assert!(quote("a\nLoadModule", apache).is_err());
        assert!(quoted(&Value::from(()), apache).is_err());
    }
}
