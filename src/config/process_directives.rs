//! The lines of directives about the whole server process: Python's start, the daemon groups, the scripts to
//! load.

use std::time::Duration;

use super::daemon_process_directive;
use super::error::quoted;
use super::options::{decimal, leading_number};
use super::process_group::reachable;
use super::suggestion::did_you_mean;
use super::{
    ConfigError, HashSeed, ImportScript, Line, ProcessConfig, RepeatedGroup, ServerConfig,
};

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
                    "must be \"random\" or an integer in the range 0 to 4294967295, not {}{}",
                    quoted(seed),
                    did_you_mean(seed, ["random"])
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
            line.context.warn(&format!(
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
    let Some(absolute) = line.context.server_root_relative(prefix) else {
        return Err(line.error(format_args!(
            "must be a path, absolute or below ServerRoot, not {}",
            quoted(prefix)
        )));
    };
    process.socket_prefix = Some(absolute.into());
    Ok(())
}

/// `WSGIAcceptMutex`: checked, and without effect: each process of a group has a socket of its own.
pub(super) fn check_accept_mutex(
    _: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let mechanisms = ["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];
    line.choice(&mechanisms.map(|name| (name, ())))
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
    _: &mut ServerConfig,
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
    _: &mut ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let group = daemon_process_directive::parse(line)?;
    match process.daemon_processes.iter().find(|other| other.name == group.name) {
        Some(first) => process.repeated_groups.push(RepeatedGroup::of(line, first, &group)?),
        None => process.daemon_processes.push(group),
    }
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
        let random = " (did you mean \"random\"?)";
        for (word, meant) in [("4294967296", ""), ("-1", ""), ("Random", random), ("1x", "")] {
            assert_eq!(
                Configuration::default().refusal(&format!("WSGIPythonHashSeed {word}")),
                format!(
                    "WSGIPythonHashSeed must be \"random\" or an integer in the range 0 to \
                     4294967295, not \"{word}\"{meant}"
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
        configuration(&["WSGIAcceptMutex SysVSem"]);
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
            "WSGIDaemonProcess \"other\" duplicates a previous definition, in the main server; remove this line, \
             or take another name"
        );
        let first = &mut written.process.daemon_processes[0].server;
        (first.is_virtual, first.defined_at) = (true, "site.conf:1".to_owned());
        assert_eq!(
            written.refusal("WSGIDaemonProcess site threads=3"),
            "WSGIDaemonProcess \"site\" duplicates a previous definition, with other options; give both \
             lines the same options, take another name, or move one line out of the virtual hosts and remove \
             the other; the first is in the server at site.conf:1"
        );
        assert!(written.process.repeated_groups.is_empty());
        // What certbot makes of a virtual host.
        written.read_all(&["WSGIDaemonProcess site"]);
        assert_eq!(written.process.repeated_groups.len(), 1);
        assert_eq!(written.process.daemon_processes.len(), 2);
    }
}
