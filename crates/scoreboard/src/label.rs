//! The value of a label of a metric. It must never know what the text says.
#![forbid(unsafe_code)]

use std::fmt::{self, Display, Write};

/// The value of a label of a metric, between double quotes.
pub struct Label<'a>(pub &'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains(['\\', '"', '\n', '\r']) {
            return f.write_str(self.0);
        }
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            // A carriage return ends a line for some readers.
            '\r' => f.write_char('\u{fffd}'),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_of_a_label_ends_at_its_quote() {
        assert_eq!(Label("x\"\\\ny\rz").to_string(), "x\\\"\\\\\\ny\u{fffd}z");
    }
}
