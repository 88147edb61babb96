//! The lines of a `<WSGIInterpreterOptions>` block and those that may stand in one. What the settings come
//! to for an interpreter stands elsewhere.

use super::error::quoted;
use super::expansion::GLOBAL;
use super::options::{decimal, global_is_empty};
use super::suggestion::did_you_mean;
use super::word_lexer::WordLexer;
use super::{ConfigError, GroupReference, Line, ProcessConfig, Section, SectionSelector};

/// `WSGIFreeThreading`
pub(super) fn set_free_threading(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    process.interpreter_at(line).free_threading = Some(line.flag()?);
    if line.section.is_some_and(|section| section.application_group.is_some()) {
        line.context.warn(&format!(
            "WSGI0201: {} has no effect in a block with application-group=: it holds for whole processes",
            line.name()
        ));
    }
    Ok(())
}

/// `<WSGIInterpreterOptions …>`: the lines inside it find the block at the end of the list.
pub(super) fn open_section(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let selector = parse_selector(line)?;
    let mention = GroupReference::of(line, selector.process_group.as_deref());
    process.group_mentions.extend(mention);
    process.interpreter_sections.push(Section { selector, ..Section::default() });
    Ok(())
}

/// `WSGISwitchInterval`
pub(super) fn set_switch_interval(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let text = line.one()?;
    let seconds = decimal(text).filter(|seconds| *seconds > 0.0).ok_or_else(|| {
        line.error(format_args!("must be a positive number of seconds, not {}", quoted(text)))
    })?;
    process.interpreter_at(line).switch_interval = Some(seconds);
    Ok(())
}

/// ` [process-group=N] [application-group=N]>`, as Apache hands it over.
fn parse_selector(line: &Line<'_>) -> Result<SectionSelector, ConfigError> {
    let rest = line.words().rest().trim_ascii_end();
    // Apache takes the `>` away with the name when nothing stands between them.
    let rest = if rest.is_empty() { b">" } else { rest };
    let Some(rest) = rest.strip_suffix(b">") else {
        return Err(line.error("is missing its closing '>'"));
    };
    let mut words = WordLexer::new(rest.trim_ascii_end());
    let mut selector = SectionSelector::default();
    while !words.is_empty() {
        let here = words.rest();
        let Some(name) = words.next_name() else {
            return Err(unknown_selector(
                line,
                &WordLexer::new(here).next_word().unwrap_or_default(),
            ));
        };
        let field = match name.to_ascii_lowercase().as_slice() {
            b"process-group" => &mut selector.process_group,
            b"application-group" => &mut selector.application_group,
            _ => return Err(unknown_selector(line, name)),
        };
        let value = words.next_word().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"application-group") {
            line.warn_of_unknown_expansion(&value, &[GLOBAL]);
        }
        if field.replace(global_is_empty(&value)).is_some() {
            return Err(line.error(format_args!("has {} more than once", quoted(name))));
        }
    }
    Ok(selector)
}

fn unknown_selector(line: &Line<'_>, word: &[u8]) -> ConfigError {
    line.error(format_args!(
        "has no selector {}{}; it takes name=value with one of these names: process-group, \
         application-group",
        quoted(word),
        did_you_mean(word, ["process-group", "application-group"])
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Bytes;
    use super::super::stub::{Configuration, configuration};

    #[test]
    fn a_section_selects_by_group_and_by_application() {
        for (arguments, process_group, application_group) in [
            (">", None, None),
            ("", None, None),
            ("process-group=a>", Some("a"), None),
            ("Process-Group='a b' APPLICATION-GROUP=%{GLOBAL} >", Some("a b"), Some("")),
            ("application-group=%{GLOBAL}>", None, Some("")),
        ] {
            let written = configuration(&[&format!("<WSGIInterpreterOptions {arguments}")]);
            let selector = written.section.expect("a section is open");
            let text = |name: &Option<Bytes>| {
                name.as_ref().map(|name| String::from_utf8_lossy(name).into_owned())
            };
            assert_eq!(text(&selector.process_group).as_deref(), process_group, "{arguments}");
            assert_eq!(text(&selector.application_group).as_deref(), application_group);
        }
    }

    #[test]
    fn a_malformed_section_is_refused() {
        let names = "it takes name=value with one of these names: process-group, application-group";
        for (arguments, refusal) in [
            ("process-group=a", "is missing its closing '>'".to_owned()),
            ("a>", format!("has no selector \"a\"; {names}")),
            ("user=a>", format!("has no selector \"user\"; {names}")),
            ("process-group=a process-group=b>", "has \"process-group\" more than once".to_owned()),
        ] {
            let line = format!("<WSGIInterpreterOptions {arguments}");
            let sentence = Configuration::default().refusal(&line);
            assert_eq!(sentence, format!("WSGIInterpreterOptions {refusal}"));
        }
        let mut inside = configuration(&["<WSGIInterpreterOptions>"]);
        assert_eq!(
            inside.refusal("<WSGIInterpreterOptions>"),
            "WSGIInterpreterOptions cannot occur within <WSGIInterpreterOptions> section"
        );
    }

    #[test]
    fn a_switch_interval_is_above_zero() {
        let written = configuration(&["WSGISwitchInterval 0.01"]);
        assert_eq!(written.process.interpreter.switch_interval, Some(0.01));
        for word in ["0", "-1", "x", "1s", "nan", "inf"] {
            assert_eq!(
                Configuration::default().refusal(&format!("WSGISwitchInterval {word}")),
                format!("WSGISwitchInterval must be a positive number of seconds, not \"{word}\"")
            );
        }
    }
}
