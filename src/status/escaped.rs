//! Texts of requests, names and workers where they stand between signs that mean something. It must never know what a text
//! says: a fuzz target has this file alone.
#![forbid(unsafe_code)]

use std::fmt::{self, Display, Write};

/// Text that may stand in an element or in an attribute in double quotes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other if other.is_control() => f.write_str("\u{fffd}"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element() {
        let text = "<script>'\"&\u{1}</script>".to_owned();
        assert_eq!(
            Escaped(&text).to_string(),
            "&lt;script&gt;&#39;&quot;&amp;\u{fffd}&lt;/script&gt;"
        );
    }
}
