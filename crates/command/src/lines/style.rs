//! Colours of a terminal.

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Faint,
    Good,
    Notice,
    Bad,
    Strong,
}

/// The text in its colour, or as it is.
pub(super) fn paint(text: &str, style: Style, has_colours: bool) -> String {
    let code = match style {
        _ if !has_colours => return text.to_owned(),
        Style::Plain => return text.to_owned(),
        Style::Faint => "2",
        Style::Good => "32",
        Style::Notice => "33",
        Style::Bad => "31",
        Style::Strong => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
