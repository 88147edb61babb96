//! Text of a group, made fit for a terminal: a tenant must not be able to send it commands.

/// The text, with characters that a terminal might obey, or that change the order of others, as `\u{1b}`.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut fit, character| {
        if is_plain(character) {
            fit.push(character);
        } else {
            fit.extend(character.escape_unicode());
        }
        fit
    })
}

/// JSON, with the same characters as `\u001b`; those outside of strings are none of them.
pub(crate) fn printable_json(value: &serde_json::Value) -> String {
    printable_lines(&format!("{value:#}\n"))
}

/// The same in one line.
pub(crate) fn printable_json_line(value: &serde_json::Value) -> String {
    printable_lines(&format!("{value}\n"))
}

fn printable_lines(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut fit, character| {
        if is_plain(character) || character == '\n' {
            fit.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                fit.push_str(&format!("\\u{unit:04x}"));
            }
        }
        fit
    })
}

/// Whether a terminal shows the character and does nothing else.
fn is_plain(character: char) -> bool {
    // Directions of text (Unicode Standard Annex 9), separators of lines, and invisible characters.
    let is_invisible = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !is_invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_terminals_become_text() {
        assert_eq!(printable("a\x1b[2J\u{9b}0m\r\n\tä"), "a\\u{1b}[2J\\u{9b}0m\\u{d}\\u{a}\\u{9}ä");
        assert_eq!(printable("\u{202e}gnp.exe"), "\\u{202e}gnp.exe");
    }

    #[test]
    fn json_says_the_same_without_them() {
        let value = serde_json::json!({ "a\u{9b}": ["\x1b\u{7f}\u{e0001}ä", 1] });
        let text = printable_json(&value);
        assert!(text.chars().all(|one| one == '\n' || is_plain(one)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        let line = printable_json_line(&value);
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }
}
