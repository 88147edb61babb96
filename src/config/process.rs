//! What was written about the whole server process: Python's start, the daemon groups, the scripts
//! to load. It never knows a virtual host's or a directory's own settings.

use std::time::Duration;

use super::error::quoted;
use super::options::{decimal, leading_number};
use super::process_group::reachable;
use super::{
    Bytes, ConfigError, DaemonProcess, DirectoryConfig, ImportScript, InterpreterOptions, Line,
    Section, TelemetryOptions, TelemetryService,
};

/// The process-wide settings, as written. There is one; virtual hosts do not inherit it, they add
/// to its lists.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessConfig {
    pub(crate) python_home: Option<Bytes>,
    pub(crate) python_eggs: Option<Bytes>,
    /// Each as after `python -W`, in the order written.
    pub(crate) python_warnings: Vec<Bytes>,
    pub(crate) python_optimize: Option<u32>,
    pub(crate) hash_seed: Option<HashSeed>,
    pub(crate) dont_write_bytecode: Option<bool>,
    pub(crate) destroy_interpreter: Option<bool>,
    pub(crate) case_sensitivity: Option<bool>,
    pub(crate) restrict_embedded: Option<bool>,
    /// What holds for every interpreter a block does not say otherwise for.
    pub(crate) interpreter: InterpreterOptions,
    /// The `<WSGIInterpreterOptions>` blocks, in the order written.
    pub(crate) interpreter_sections: Vec<Section>,
    /// Also those of virtual hosts, in the order written. Names are unique.
    pub(crate) daemon_processes: Vec<DaemonProcess>,
    /// Also those of virtual hosts, and of script aliases whose groups are fully named.
    pub(crate) import_scripts: Vec<ImportScript>,
    pub(crate) socket_prefix: Option<Bytes>,
    pub(crate) socket_rotation: Option<bool>,
    pub(crate) accept_mutex: Option<AcceptMutex>,
    pub(crate) server_metrics: Option<bool>,
    /// `Some(0)` was written to turn it off.
    pub(crate) slow_requests: Option<Duration>,
    pub(crate) telemetry_service: Option<TelemetryService>,
    pub(crate) telemetry_options: Option<TelemetryOptions>,
    /// How many lines of `WSGIApplicationGroup` and `WSGIProcessGroup` stand in a section such as
    /// `<Location>`: with them nobody can tell which requests a server's aliases lead where.
    pub(crate) groups_in_sections: usize,
    /// How many access and authentication scripts there are, `.htaccess` files apart.
    pub(crate) access_scripts: usize,
    /// How many dispatch scripts there are.
    pub(crate) dispatch_scripts: usize,
    /// How many handler scripts there are.
    pub(crate) handler_scripts: usize,
}

impl ProcessConfig {
    /// Keeps in mind a line that has just been read, if it says something about the whole process.
    pub(super) fn note(&mut self, line: &Line<'_>) {
        match line.name() {
            "WSGIAccessScript" | "WSGIAuthUserScript" | "WSGIAuthGroupScript" => {
                self.access_scripts += 1;
            }
            "WSGIDispatchScript" => self.dispatch_scripts += 1,
            "WSGIHandlerScript" => self.handler_scripts += 1,
            "WSGIApplicationGroup" | "WSGIProcessGroup" if line.surroundings.in_section() => {
                self.groups_in_sections += 1;
            }
            _ => {}
        }
    }
}

/// Where the hashes of Python strings start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashSeed {
    /// Another one in each process. (mod_wsgi takes the word for the number 0.)
    Random,
    Fixed(u32),
}

/// How the processes of a group take turns. Kept for compatibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptMutex {
    Default,
    Flock,
    Fcntl,
    SysVSem,
    PosixSem,
    PThread,
}

impl ProcessConfig {
    /// Where the line's interpreter settings go: the block it stands in, or the top level.
    pub(super) fn interpreter_at(&mut self, line: &Line<'_>) -> &mut InterpreterOptions {
        let Self { interpreter, interpreter_sections, .. } = self;
        match (line.section, interpreter_sections.last_mut()) {
            (Some(_), Some(section)) => &mut section.options,
            _ => interpreter,
        }
    }
}

/// `WSGIPythonHashSeed`
pub(super) fn set_hash_seed(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    process.hash_seed = match line.one()? {
        b"random" => Some(HashSeed::Random),
        seed => {
            let number = std::str::from_utf8(seed).ok().and_then(|seed| seed.parse().ok());
            Some(HashSeed::Fixed(number.ok_or_else(|| {
                line.error(format_args!(
                    "must be \"random\" or an integer in the range 0 to 4294967295, not {}",
                    quoted(seed)
                ))
            })?))
        }
    };
    Ok(())
}

/// `WSGIPythonOptimize`: no number is refused, as in mod_wsgi; what is not above 0 is 0.
pub(super) fn set_python_optimize(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let text = line.one()?;
    let number = match leading_number(text) {
        Some((number, b"")) => number,
        other => {
            let number = other.map_or(0, |(number, _)| number);
            line.surroundings.warn(&format!(
                "{} must be a whole number; {} is read as {number}",
                line.name(),
                quoted(text)
            ));
            number
        }
    };
    process.python_optimize = Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX));
    Ok(())
}

/// `WSGISocketPrefix`
pub(super) fn set_socket_prefix(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let prefix = line.one()?;
    let Some(absolute) = line.surroundings.server_root_relative(prefix) else {
        return Err(line.error(format_args!(
            "must be a path, absolute or below ServerRoot, not {}",
            quoted(prefix)
        )));
    };
    process.socket_prefix = Some(absolute.into());
    Ok(())
}

/// `WSGIAcceptMutex`
pub(super) fn set_accept_mutex(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    process.accept_mutex = Some(line.choice(&[
        ("default", AcceptMutex::Default),
        ("flock", AcceptMutex::Flock),
        ("fcntl", AcceptMutex::Fcntl),
        ("sysvsem", AcceptMutex::SysVSem),
        ("posixsem", AcceptMutex::PosixSem),
        ("pthread", AcceptMutex::PThread),
    ])?);
    Ok(())
}

/// `WSGISlowRequests`
pub(super) fn set_slow_requests(
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let text = line.one()?;
    let seconds = decimal(text)
        .filter(|seconds| *seconds >= 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    process.slow_requests = Some(seconds.ok_or_else(|| {
        line.error(format_args!("must be a non-negative number of seconds, not {}", quoted(text)))
    })?);
    Ok(())
}

/// `WSGIImportScript`
pub(super) fn add_import_script(
    _: &mut super::ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let script = ImportScript::parse(line)?;
    if !cfg!(feature = "embedded") && script.process_group.is_empty() {
        return Err(ConfigError::without_python("WSGIImportScript with process-group=%{GLOBAL}"));
    }
    if !script.process_group.is_empty() {
        reachable(line, &process.daemon_processes, &script.process_group)?;
    }
    process.import_scripts.push(script);
    Ok(())
}

/// `WSGIDaemonProcess`
pub(super) fn add_daemon_process(
    _: &mut super::ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let group = DaemonProcess::parse(line)?;
    if let Some(first) = process.daemon_processes.iter().find(|other| other.name == group.name) {
        let name = quoted(&group.name);
        // httpd knows no line of the main server.
        return Err(if first.server.is_virtual {
            let place = &first.server.defined_at;
            line.error(format_args!(
                "{name} duplicates a previous definition, in the server at {place}"
            ))
        } else {
            line.error(format_args!("{name} duplicates a previous definition, in the main server"))
        });
    }
    process.daemon_processes.push(group);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Configuration, configuration};
    use super::*;

    #[test]
    fn a_hash_seed_is_random_or_a_number_of_32_bits() {
        for (word, expected) in [
            ("random", Some(HashSeed::Random)),
            ("0", Some(HashSeed::Fixed(0))),
            ("4294967295", Some(HashSeed::Fixed(u32::MAX))),
        ] {
            let written = configuration(&[&format!("WSGIPythonHashSeed {word}")]);
            assert_eq!(written.process.hash_seed, expected, "{word}");
        }
        for word in ["4294967296", "-1", "Random", "1x"] {
            assert_eq!(
                Configuration::default().refusal(&format!("WSGIPythonHashSeed {word}")),
                format!(
                    "WSGIPythonHashSeed must be \"random\" or an integer in the range 0 to \
                     4294967295, not \"{word}\""
                )
            );
        }
    }

    #[test]
    fn any_optimisation_level_is_accepted() {
        for (word, expected, warns) in
            [("0", 0, false), ("2", 2, false), ("-3", 0, false), ("1x", 1, true), ("On", 0, true)]
        {
            let written = configuration(&[&format!("WSGIPythonOptimize {word}")]);
            assert_eq!(written.process.python_optimize, Some(expected), "{word}");
            assert_eq!(!written.warnings().is_empty(), warns, "{word}");
        }
    }

    #[test]
    fn a_socket_prefix_is_below_the_server_root() {
        let written = configuration(&["WSGISocketPrefix run/wsgi"]);
        assert_eq!(written.process.socket_prefix.as_deref(), Some(&b"/etc/apache2/run/wsgi"[..]));
        assert_eq!(
            Configuration::default().refusal("WSGISocketPrefix \"\""),
            "WSGISocketPrefix must be a path, absolute or below ServerRoot, not \"\""
        );
    }

    #[test]
    fn an_accept_mutex_is_one_that_apache_has() {
        let written = configuration(&["WSGIAcceptMutex SysVSem"]);
        assert_eq!(written.process.accept_mutex, Some(AcceptMutex::SysVSem));
        assert_eq!(
            Configuration::default().refusal("WSGIAcceptMutex spin"),
            "WSGIAcceptMutex must be one of: default | flock | fcntl | sysvsem | posixsem | \
             pthread, not \"spin\""
        );
    }

    #[test]
    fn slowness_is_a_number_of_seconds() {
        let seconds = |word: &str| {
            configuration(&[&format!("WSGISlowRequests {word}")]).process.slow_requests
        };
        assert_eq!(seconds("0"), Some(Duration::ZERO));
        assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
        for word in ["-1", "x", "1s", "inf"] {
            assert_eq!(
                Configuration::default().refusal(&format!("WSGISlowRequests {word}")),
                format!(
                    "WSGISlowRequests must be a non-negative number of seconds, not \"{word}\""
                )
            );
        }
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn an_import_script_names_both_groups_and_the_first_must_be_there() {
        let mut written = configuration(&[
            "WSGIDaemonProcess site",
            "WSGIImportScript /srv/a.wsgi process-group=site application-group=%{GLOBAL}",
            "WSGIImportScript b.wsgi process-group=%{GLOBAL} application-group=b",
        ]);
        let [first, second] = written.process.import_scripts.as_slice() else { panic!() };
        assert_eq!((&*first.process_group, &*first.application_group), (&b"site"[..], &b""[..]));
        assert_eq!((&*second.process_group, &*second.application_group), (&b""[..], &b"b"[..]));
        assert_eq!(&*second.path, b"/etc/apache2/b.wsgi");
        for (arguments, refusal) in [
            ("", "needs the location of the import script"),
            ("/a application-group=b", "needs the option process-group="),
            ("/a process-group=site", "needs the option application-group="),
            (
                "/a process-group=none application-group=b",
                "names the process group \"none\", which is not yet configured: a \
                 WSGIDaemonProcess line must come first",
            ),
        ] {
            let sentence = written.refusal(&format!("WSGIImportScript {arguments}"));
            assert_eq!(sentence, format!("WSGIImportScript {refusal}"));
        }
    }

    #[test]
    fn the_name_of_a_group_is_unique_over_all_servers() {
        let mut written = configuration(&["WSGIDaemonProcess site", "WSGIDaemonProcess other"]);
        written.apache.server.is_virtual = true;
        assert_eq!(
            written.refusal("WSGIDaemonProcess other"),
            "WSGIDaemonProcess \"other\" duplicates a previous definition, in the main server"
        );
        let first = &mut written.process.daemon_processes[0].server;
        (first.is_virtual, first.defined_at) = (true, "site.conf:1".to_owned());
        assert_eq!(
            written.refusal("WSGIDaemonProcess site"),
            "WSGIDaemonProcess \"site\" duplicates a previous definition, in the server at \
             site.conf:1"
        );
        assert_eq!(written.process.daemon_processes.len(), 2);
    }
}
