//! What the query of a request for the status asks for. It must never know a request or a group: a fuzz target has this
//! file alone.
#![forbid(unsafe_code)]

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) format: Format,
    /// The name of the only group that is to be shown.
    pub(super) group: Option<String>,
}

/// How the status is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
    Prometheus,
}

/// What this query asks for; parts that are unknown are left out.
pub(super) fn asked(query: &[u8]) -> Asked {
    let mut asked = Asked { format: Format::Html, group: None };
    for part in query.split(|byte| matches!(byte, b'&' | b';')) {
        match part {
            b"json" => asked.format = Format::Json,
            b"prometheus" => asked.format = Format::Prometheus,
            _ => {
                if let Some(name) = part.strip_prefix(b"group=") {
                    asked.group = Some(String::from_utf8_lossy(&decoded(name)).into_owned());
                }
            }
        }
    }
    asked
}

/// A value of a query without its coding.
fn decoded(value: &[u8]) -> Vec<u8> {
    let (mut text, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                text.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => text.push(b' '),
            (other, _) => text.push(*other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_names_format_and_group() {
        let of = |query: &[u8]| asked(query);
        assert_eq!(of(b""), Asked { format: Format::Html, group: None });
        assert_eq!(of(b"json").format, Format::Json);
        let both = of(b"prometheus&group=my%20%7a+%zz%");
        assert_eq!(both.format, Format::Prometheus);
        assert_eq!(both.group.as_deref(), Some("my z %zz%"));
    }
}
