//! Variables in the values of a file, as a shell and the tools for such files write them.

/// The text up to its closing quote, if it has one, with `$NAME`, `${NAME}` and `${NAME:-otherwise}` replaced. A variable
/// that is not set is empty; a backslash before `$` keeps it, and between quotes the character after a backslash stays.
pub(super) fn expanded(
    text: &str,
    quote: Option<char>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            _ if Some(character) == quote => break,
            '\\' => match after.chars().next() {
                Some(next) if next == '$' || quote.is_some() => {
                    found.push(next);
                    &after[next.len_utf8()..]
                }
                _ => {
                    found.push('\\');
                    after
                }
            },
            '$' => match reference(after) {
                Some((name, otherwise, left)) => {
                    let value = variable(name).filter(|value| !value.is_empty());
                    found.push_str(value.as_deref().unwrap_or(otherwise));
                    left
                }
                None => {
                    found.push('$');
                    after
                }
            },
            _ => {
                found.push(character);
                after
            }
        };
    }
    found
}

/// Name, default and rest of what follows a `$`; `None` where that is no variable.
fn reference(text: &str) -> Option<(&str, &str, &str)> {
    let end = |text: &str| {
        let length = text.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        length.unwrap_or(text.len())
    };
    let is_name = |name: &str| name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
    let Some(inner) = text.strip_prefix('{') else {
        let (name, rest) = text.split_at(end(text));
        return is_name(name).then_some((name, "", rest));
    };
    let (inner, rest) = inner.split_once('}')?;
    let (name, otherwise) = inner.split_once(":-").unwrap_or((inner, ""));
    (is_name(name) && end(name) == name.len()).then_some((name, otherwise, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_where_they_are_written_as_such() {
        let known = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, quote, expected) in [
            ("$A-${A}x", None, "one-onex"),
            ("$AB", None, ""),
            ("${B:-two}/${EMPTY:-three}", None, "two/three"),
            ("${A:-two}", None, "one"),
            (r"\$A costs $5 or ${", None, "$A costs $5 or ${"),
            ("${A B}", None, "${A B}"),
            (r"C:\dir", None, r"C:\dir"),
            (r#"$A \"b\" \\ " # c"#, Some('"'), r#"one "b" \ "#),
        ] {
            assert_eq!(expanded(text, quote, &known), expected, "{text}");
        }
    }
}
