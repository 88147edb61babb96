//! Texts of applications that are shown to an administrator. It must never know where.
#![forbid(unsafe_code)]

/// Whether a character neither controls a terminal nor the direction of a text.
pub const fn is_printable(character: char) -> bool {
    !matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_printable_and_what_controls_is_not() {
        assert!("aé漢 \u{a0}~".chars().all(is_printable));
        assert!(!"\n\t\x1b\x7f\u{9b}\u{202e}\u{feff}\u{e0041}".chars().any(is_printable));
    }
}
