//! What one interpreter may be told: at the top level for all of them, in a
//! `<WSGIInterpreterOptions>` block for those it selects. It never knows an interpreter.

use super::{Bytes, SectionSelector};

/// `error`, as in mod_wsgi.
const DEFAULT_PRINT_LEVEL: u8 = 3;

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
    /// As Apache numbers levels.
    pub(crate) print_level: Option<u8>,
    /// Records of `logging` are JSON.
    pub(crate) json_records: Option<bool>,
    pub(crate) restrict_signal: Option<bool>,
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
    /// The level of lines written to `sys.stdout`, as Apache numbers it.
    pub(crate) print_level: u8,
    /// Records of `logging` are JSON.
    pub(crate) json_records: bool,
    pub(crate) restrict_signal: bool,
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
            mut print_level,
            mut json_records,
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
            print_level = options.print_level.or(print_level);
            json_records = options.json_records.or(json_records);
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
            print_level: print_level.unwrap_or(DEFAULT_PRINT_LEVEL),
            json_records: json_records.unwrap_or(false),
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

#[cfg(test)]
mod tests {
    use super::super::ProcessOptions;
    use super::super::stub::configuration;

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
}
