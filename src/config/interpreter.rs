//! What one interpreter may be told: at the top level for all of them, in a
//! `<WSGIInterpreterOptions>` block for those it selects. It never knows an interpreter.

use super::error::quoted;
use super::options::{decimal, global_is_empty};
use super::words::Words;
use super::{Bytes, ConfigError, Line, ProcessConfig};

/// The settings that may stand in a block, as written in one place.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InterpreterOptions {
    pub(crate) per_interpreter_gil: Option<bool>,
    pub(crate) free_threading: Option<bool>,
    /// Seconds.
    pub(crate) switch_interval: Option<f64>,
    /// Directories, `:` between them.
    pub(crate) python_path: Option<Bytes>,
    pub(crate) restrict_stdin: Option<bool>,
    pub(crate) restrict_stdout: Option<bool>,
    pub(crate) restrict_signal: Option<bool>,
}

/// Which interpreters a block is for. An empty name is the `%{GLOBAL}` one; unset selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SectionSelector {
    pub(crate) process_group: Option<Bytes>,
    pub(crate) application_group: Option<Bytes>,
}

/// A `<WSGIInterpreterOptions>` block.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Section {
    pub(crate) selector: SectionSelector,
    pub(crate) options: InterpreterOptions,
}

/// What holds for one interpreter, defaults applied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InterpreterSettings {
    pub(crate) own_gil: bool,
    pub(crate) free_threading: bool,
    /// `None` leaves Python's own interval.
    pub(crate) switch_interval: Option<f64>,
    /// A block that names the application group gave that interval.
    pub(crate) interval_is_its_own: bool,
    /// A `:` list per layer; each layer puts its new entries in front of those before it.
    pub(crate) python_path: Vec<Bytes>,
    pub(crate) restrict_stdin: bool,
    pub(crate) restrict_stdout: bool,
    pub(crate) restrict_signal: bool,
}

impl SectionSelector {
    /// ` [process-group=N] [application-group=N]>`, as Apache hands it over.
    fn parse(line: &Line<'_>) -> Result<Self, ConfigError> {
        let rest = line.words().rest().trim_ascii_end();
        // Apache takes the `>` away with the name when nothing stands between them.
        let rest = if rest.is_empty() { b">" } else { rest };
        let Some(rest) = rest.strip_suffix(b">") else {
            return Err(line.error("is missing its closing '>'"));
        };
        let mut words = Words::new(rest.trim_ascii_end());
        let mut selector = Self::default();
        while !words.is_empty() {
            let here = words.rest();
            let Some(name) = words.next_name() else {
                return Err(unknown_selector(
                    line,
                    &Words::new(here).next_word().unwrap_or_default(),
                ));
            };
            let field = match name.to_ascii_lowercase().as_slice() {
                b"process-group" => &mut selector.process_group,
                b"application-group" => &mut selector.application_group,
                _ => return Err(unknown_selector(line, name)),
            };
            let value = words.next_word().unwrap_or_default();
            if field.replace(global_is_empty(&value)).is_some() {
                return Err(line.error(format_args!("has {} more than once", quoted(name))));
            }
        }
        Ok(selector)
    }

    /// Whether it is for an interpreter; without an application group, for one that no block names.
    fn selects(&self, process_group: &[u8], application_group: Option<&[u8]>) -> bool {
        let application = self.application_group.as_deref();
        self.selects_process(process_group)
            && application.is_none_or(|name| application_group == Some(name))
    }

    fn selects_process(&self, process_group: &[u8]) -> bool {
        self.process_group.as_deref().is_none_or(|name| name == process_group)
    }

    /// Whether it names a sub-interpreter of `process_group`.
    pub(crate) fn names_sub_interpreter(&self, process_group: &[u8]) -> bool {
        self.selects_process(process_group)
            && self.application_group.as_ref().is_some_and(|name| !name.is_empty())
    }

    /// How many selectors it gives; the more, the stronger.
    fn specificity(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }
}

fn unknown_selector(line: &Line<'_>, word: &[u8]) -> ConfigError {
    line.error(format_args!(
        "has no selector {}; it takes name=value with one of these names: process-group, \
         application-group",
        quoted(word)
    ))
}

impl InterpreterSettings {
    /// What holds for the interpreter of `application_group` in the processes of `process_group`. A
    /// block beats the top level, more selectors beat fewer, among equals the later block wins.
    pub(super) fn resolve(
        top_level: &InterpreterOptions,
        sections: &[Section],
        process_group: &[u8],
        application_group: Option<&[u8]>,
    ) -> Self {
        let mut sections: Vec<&Section> = sections
            .iter()
            .filter(|section| section.selector.selects(process_group, application_group))
            .collect();
        sections.sort_by_key(|section| section.selector.specificity());

        let InterpreterOptions {
            mut per_interpreter_gil,
            mut free_threading,
            mut switch_interval,
            python_path,
            mut restrict_stdin,
            mut restrict_stdout,
            mut restrict_signal,
        } = top_level.clone();
        // At the top level the path is for embedded mode; daemons have python-path=.
        let base = python_path.filter(|_| process_group.is_empty());
        let mut path: Vec<Bytes> = base.into_iter().collect();
        let mut interval_is_its_own = false;
        for Section { selector, options } in sections {
            per_interpreter_gil = options.per_interpreter_gil.or(per_interpreter_gil);
            if selector.application_group.is_none() {
                free_threading = options.free_threading.or(free_threading);
            }
            if options.switch_interval.is_some() {
                interval_is_its_own = selector.application_group.is_some();
            }
            switch_interval = options.switch_interval.or(switch_interval);
            restrict_stdin = options.restrict_stdin.or(restrict_stdin);
            restrict_stdout = options.restrict_stdout.or(restrict_stdout);
            restrict_signal = options.restrict_signal.or(restrict_signal);
            path.extend(options.python_path.clone());
        }
        Self {
            own_gil: per_interpreter_gil.unwrap_or(false),
            free_threading: free_threading.unwrap_or(false),
            switch_interval,
            interval_is_its_own,
            python_path: path,
            restrict_stdin: restrict_stdin.unwrap_or(false),
            restrict_stdout: restrict_stdout.unwrap_or(false),
            restrict_signal: restrict_signal.unwrap_or(true),
        }
    }
}

/// The application groups that blocks for `process_group` name, each once.
pub(super) fn named<'a>(sections: &'a [Section], process_group: &[u8]) -> Vec<&'a [u8]> {
    let of_process = sections.iter().map(|section| &section.selector);
    let of_process = of_process.filter(|selector| selector.selects_process(process_group));
    let mut names: Vec<_> =
        of_process.filter_map(|selector| selector.application_group.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `WSGIFreeThreading`
pub(super) fn set_free_threading(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    process.interpreter_at(line).free_threading = Some(line.flag()?);
    if line.section.is_some_and(|section| section.application_group.is_some()) {
        line.surroundings.warn(&format!(
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
    let selector = SectionSelector::parse(line)?;
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

#[cfg(test)]
mod tests {
    use super::super::ProcessOptions;
    use super::super::stub::{Configuration, configuration};
    use super::*;

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
    fn more_selectors_beat_fewer_and_a_later_section_beats_an_earlier_one() {
        let written = configuration(&[
            "WSGISwitchInterval 1",
            "WSGIRestrictSignal Off",
            "WSGIPythonPath /base",
            "<WSGIInterpreterOptions process-group=site application-group=admin>",
            "WSGISwitchInterval 4",
            "WSGIPythonPath /admin",
            "</WSGIInterpreterOptions>",
            "<WSGIInterpreterOptions process-group=site>",
            "WSGISwitchInterval 2",
            "WSGIPerInterpreterGIL On",
            "WSGIPythonPath /site",
            "</WSGIInterpreterOptions>",
            "<WSGIInterpreterOptions process-group=site>",
            "WSGISwitchInterval 3",
            "</WSGIInterpreterOptions>",
            "<WSGIInterpreterOptions>",
            "WSGIRestrictStdin On",
            "WSGIPythonPath /all",
            "</WSGIInterpreterOptions>",
        ]);
        let options = ProcessOptions::resolve(&written.process);
        for (process_group, application_group, interval, own_gil, path) in [
            ("", "", 1.0, false, "/base /all"),
            ("other", "admin", 1.0, false, "/all"),
            ("site", "", 3.0, true, "/all /site"),
            ("site", "admin", 4.0, true, "/all /site /admin"),
        ] {
            let resolved =
                options.interpreter(process_group.as_bytes(), Some(application_group.as_bytes()));
            assert_eq!(resolved.switch_interval, Some(interval), "{process_group}");
            assert_eq!(resolved.own_gil, own_gil, "{process_group}");
            assert!(resolved.restrict_stdin && !resolved.restrict_signal);
            let layers: Vec<_> =
                resolved.python_path.iter().map(|it| String::from_utf8_lossy(it)).collect();
            assert_eq!(layers.join(" "), path, "{process_group} {application_group}");
        }
    }

    #[test]
    fn what_one_interpreter_is_told_alone_is_known_as_such() {
        let mut written = configuration(&[
            "<WSGIInterpreterOptions application-group=b>",
            "WSGISwitchInterval 1",
            "</WSGIInterpreterOptions>",
            "<WSGIInterpreterOptions process-group=site application-group=a>",
            "WSGIRestrictStdin On",
            "</WSGIInterpreterOptions>",
            "<WSGIInterpreterOptions>",
            "WSGIFreeThreading On",
            "</WSGIInterpreterOptions>",
        ]);
        let options = ProcessOptions::resolve(&written.process);
        assert_eq!(options.named_interpreters(b"site"), [b"a", b"b"]);
        assert_eq!(options.named_interpreters(b""), [b"b"]);
        let settings = options.interpreter(b"", Some(b"b"));
        assert_eq!((settings.switch_interval, settings.interval_is_its_own), (Some(1.0), true));
        let settings = options.interpreter(b"site", None);
        assert!(!settings.restrict_stdin && settings.switch_interval.is_none());
        assert!(settings.free_threading);
        assert!(written.warnings().is_empty());
        written.store("<WSGIInterpreterOptions application-group=c>").unwrap();
        written.store("WSGIFreeThreading Off").unwrap();
        assert_eq!(written.warnings().len(), 1);
        let options = ProcessOptions::resolve(&written.process);
        assert!(options.interpreter(b"", Some(b"c")).free_threading);
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
