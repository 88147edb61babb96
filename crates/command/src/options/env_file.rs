//! Files with lines `NAME=VALUE`, and words in quotes.

use super::expansion::expanded;
use crate::failure::Failure;
use std::path::Path;

/// The variables of a file: lines `NAME=VALUE`, also with `export` before; `#` begins a comment. In a value `$NAME` and
/// `${NAME}` are what `known` says, else what the lines before have; not so between single quotes.
pub(crate) fn read(
    path: &Path,
    known: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|why| Failure::usage(format!("--env-file {}: {why}", path.display())))?;
    let mut variables: Vec<(String, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let found = line.split_once('=').map(|(name, value)| (name.trim_end(), value.trim_start()));
        let Some((name, value)) = found.filter(|(name, _)| is_name(name)) else {
            return Err(Failure::usage(format!(
                "--env-file {}: line {} is not NAME=VALUE",
                path.display(),
                number + 1
            )));
        };
        let value = value_of(value, &|name| {
            // Of a name that is there twice the last line counts.
            let before = || variables.iter().rev().find(|(known, _)| known == name);
            known(name).or_else(|| before().map(|(_, value)| value.clone()))
        });
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A value without its quotes, or up to a comment.
fn value_of(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    match text.chars().next() {
        Some('\'') if text.len() > 1 => {
            words(text).into_iter().next().unwrap_or_else(|| text.trim_matches('\'').to_owned())
        }
        Some('"') if text.len() > 1 => expanded(&text[1..], Some('"'), variable),
        _ => {
            let value = text.split(" #").next().unwrap_or(text).trim_end();
            expanded(value, None, variable)
        }
    }
}

/// The words of a text, as a shell splits them: quotes keep spaces, a backslash keeps the next character.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(character),
            (_, '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(words("a  b"), ["a", "b"]);
        assert_eq!(
            words(r#"A 'one two' "x \" y" c\ d '' "#),
            ["A", "one two", "x \" y", "c d", ""]
        );
        assert!(words("  ").is_empty());
    }

    #[test]
    fn file_has_names_and_values() {
        let path = std::env::temp_dir().join(format!("env-file-{}", std::process::id()));
        let text = "# c\nA=1\nexport B = 'x # y'\n\nC=z # c\nD=\nE=\"a b\" # c\nF=${A}/$HOME\nG='$A'\nA=2\nH=$A\n";
        std::fs::write(&path, text).unwrap();
        let known = |name: &str| (name == "HOME").then(|| "/home/a".to_owned());
        let found = read(&path, &known).unwrap();
        std::fs::write(&path, "A=1\nB\n").unwrap();
        let failed = read(&path, &known).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        let pairs: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("A", "1"),
            ("B", "x # y"),
            ("C", "z"),
            ("D", ""),
            ("E", "a b"),
            ("F", "1//home/a"),
            ("G", "$A"),
            ("A", "2"),
            ("H", "2"),
        ];
        assert_eq!(pairs, expected);
        assert!(failed.ends_with("line 2 is not NAME=VALUE"), "{failed}");
    }
}
