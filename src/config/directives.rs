//! The directive table: one row for each name an administrator may write, by theme. It never knows
//! how a value is read; that stands with the config it goes to.

use std::sync::Arc;

use super::directive::{Apply, Contexts, Directive, Form, Support};
use super::expansion::EXPANSIONS;
use super::options::global_is_empty;
use super::{
    Bytes, ConfigError, Line, MapHead, ProcessConfig, RequestLines, Script, ScriptReloading,
    alias_directives, directory, interpreter_directives, process_directives, telemetry_directives,
};

use Apply::{Directory as ToDirectory, Process as ToProcess, Server as ToServer};
use Contexts::{
    DirectoryAuthConfig, Everywhere, EverywhereFileInfo, GlobalOnly, Server as ServerWide,
};
use Form::{Raw, Section, Words};

/// Scripts that Apache's own processes run, in whatever process the application runs.
const OWN_PYTHON: Support =
    if cfg!(feature = "embedded") { Support::Works } else { Support::NeedsPython };
const AUTH_PROVIDERS: Support =
    Support::Obsolete("Apache asks its providers in the order of AuthBasicProvider");
const NEW_RELIC: Support =
    Support::Obsolete("the application starts the New Relic agent itself since mod_wsgi 6");

/// Every directive. `module` makes Apache's `command_rec[]` of it; `docs/directives.md` is held
/// against it.
#[rustfmt::skip]
pub(crate) static DIRECTIVES: [Directive; 59] = [
    // Which URL leads to which script.
    Directive::new(c"WSGIScriptAlias", ServerWide, Raw,
        c"URL path, script file or directory, and options",
        ToServer(alias_directives::add_script_alias)),
    Directive::new(c"WSGIScriptAliasMatch", ServerWide, Raw,
        c"regular expression for the URL path, script file, and options",
        ToServer(alias_directives::add_script_alias_match)),
    Directive::new(c"ASGIScriptAlias", ServerWide, Raw,
        c"URL path, script file or directory of ASGI, and options",
        ToServer(alias_directives::add_script_alias)),
    Directive::new(c"ASGIScriptAliasMatch", ServerWide, Raw,
        c"regular expression for the URL path, script file of ASGI, and options",
        ToServer(alias_directives::add_script_alias_match)),
    Directive::new(c"WSGIHandlerScript", Everywhere, Raw,
        c"name of an Apache handler, script file, and options",
        ToDirectory(directory::add_handler_script)),
    Directive::new(c"WSGIDispatchScript", Everywhere, Raw,
        c"script that chooses groups and callable for each request",
        ToDirectory(|directory, line| set_script(&mut directory.dispatch_script, line, "dispatch")))
        .support(OWN_PYTHON),
    Directive::new(c"WSGIImportScript", ServerWide, Raw,
        c"script to load when a process starts, process-group= and application-group=",
        ToServer(process_directives::add_import_script)),
    // Which processes and which interpreter run it.
    Directive::new(c"WSGIDaemonProcess", ServerWide, Raw,
        c"name of a process group, and options",
        ToServer(process_directives::add_daemon_process)),
    Directive::new(c"WSGIProcessGroup", Everywhere, Words,
        c"name of the process group, or %{GLOBAL} for embedded mode",
        ToDirectory(|directory, line| set_group(&mut directory.process_group, line)))
        ,
    Directive::new(c"WSGIRestrictProcess", Everywhere, Raw,
        c"names of the process groups that may be chosen here",
        ToDirectory(directory::set_restrict_process)),
    Directive::new(c"WSGIApplicationGroup", Everywhere, Words,
        c"name of the interpreter, or %{GLOBAL} for the main one",
        ToDirectory(|directory, line| set_application_group(&mut directory.application_group, line))),
    Directive::new(c"WSGICallableObject", EverywhereFileInfo, Words,
        c"name of the application in the script file, or a call of what makes it, such as create_app()",
        ToDirectory(|directory, line|
            set_callable(&mut directory.callable_object, line))),
    Directive::new(c"WSGIRestrictEmbedded", GlobalOnly, Words,
        c"On or Off: whether Apache's own processes may run no Python",
        ToProcess(|process, line| set(&mut process.restrict_embedded, line.flag()))),
    Directive::new(c"WSGISocketPrefix", GlobalOnly, Words,
        c"path that the names of daemon sockets begin with",
        ToProcess(process_directives::set_socket_prefix)),
    Directive::new(c"WSGISocketRotation", GlobalOnly, Words,
        c"On or Off: whether each restart has sockets of its own",
        ToProcess(|process, line| set(&mut process.socket_rotation, line.flag()))),
    Directive::new(c"WSGIAcceptMutex", GlobalOnly, Words,
        c"how the processes of a group take turns",
        ToProcess(process_directives::check_accept_mutex)),
    // How Python starts.
    Directive::new(c"WSGIPythonHome", GlobalOnly, Words,
        c"virtual environment or Python installation",
        ToProcess(|process, line| set_text(&mut process.python_home, line))),
    Directive::new(c"WSGIPythonPath", GlobalOnly, Words,
        c"directories for modules, colons between them",
        ToProcess(|process, line| set_text(&mut process.interpreter_at(line).python_path, line)))
        .in_section(),
    Directive::new(c"WSGIPythonEggs", GlobalOnly, Words,
        c"directory in which eggs are unpacked",
        ToProcess(|process, line| set_text(&mut process.python_eggs, line))),
    Directive::new(c"WSGIPythonOptimize", GlobalOnly, Words,
        c"level of optimisation, 0 to 2",
        ToProcess(process_directives::set_python_optimize)),
    Directive::new(c"WSGIPythonWarnings", GlobalOnly, Words,
        c"warning filter as after python -W",
        ToProcess(|process, line|
            line.one().map(|filter| process.python_warnings.push(filter.into())))),
    Directive::new(c"WSGIPythonHashSeed", GlobalOnly, Words,
        c"random, or a number from 0 to 4294967295",
        ToProcess(process_directives::set_hash_seed)),
    Directive::new(c"WSGIDontWriteBytecode", GlobalOnly, Words,
        c"On or Off: whether no .pyc files are written",
        ToProcess(|process, line| set(&mut process.dont_write_bytecode, line.flag()))),
    Directive::new(c"WSGIDestroyInterpreter", GlobalOnly, Words,
        c"On or Off: whether Python is shut down when a process ends",
        ToProcess(|process, line| set(&mut process.destroy_interpreter, line.flag()))),
    Directive::new(c"WSGISwitchInterval", GlobalOnly, Words,
        c"seconds between two switches of Python threads",
        ToProcess(interpreter_directives::set_switch_interval)).in_section(),
    Directive::new(c"WSGIPerInterpreterGIL", GlobalOnly, Words,
        c"On or Off: whether each interpreter has a lock of its own",
        ToProcess(|process, line|
            set(&mut process.interpreter_at(line).per_interpreter_gil, line.flag())))
        .in_section(),
    Directive::new(c"WSGIFreeThreading", GlobalOnly, Words,
        c"On or Off: whether a free-threaded Python runs without its lock",
        ToProcess(interpreter_directives::set_free_threading)).in_section(),
    Directive::new(c"<WSGIInterpreterOptions", GlobalOnly, Section,
        c"process-group= and application-group= of the interpreters that the lines inside are for",
        ToProcess(interpreter_directives::open_section)),
    // What an application may do and is given.
    Directive::new(c"WSGIRestrictStdin", GlobalOnly, Words,
        c"On or Off: whether reading sys.stdin is an error",
        ToProcess(|process, line|
            set(&mut process.interpreter_at(line).restrict_stdin, line.flag())))
        .in_section(),
    Directive::new(c"WSGIRestrictStdout", GlobalOnly, Words,
        c"On or Off: whether writing to sys.stdout is an error",
        ToProcess(|process, line|
            set(&mut process.interpreter_at(line).restrict_stdout, line.flag())))
        .in_section(),
    Directive::new(c"WSGIPrintLevel", GlobalOnly, Words,
        c"error, warn, notice, info or debug: the log level of what is written to sys.stdout",
        ToProcess(|process, line|
            set(&mut process.interpreter_at(line).print_level, line.choice(&PRINT_LEVELS))))
        .in_section(),
    Directive::new(c"WSGILogFormat", GlobalOnly, Words,
        c"text or json: how records of logging and printed lines are written to the error log",
        ToProcess(|process, line|
            set(&mut process.interpreter_at(line).json_records, line.choice(&LOG_FORMATS))))
        .in_section(),
    Directive::new(c"WSGIRestrictSignal", GlobalOnly, Words,
        c"On or Off: whether signal handlers are left alone",
        ToProcess(|process, line|
            set(&mut process.interpreter_at(line).restrict_signal, line.flag())))
        .in_section(),
    Directive::new(c"WSGICaseSensitivity", GlobalOnly, Words,
        c"On or Off: whether file names have case",
        ToProcess(|process, line| set(&mut process.case_sensitivity, line.flag()))),
    Directive::new(c"WSGIScriptReloading", EverywhereFileInfo, Words,
        c"Off, On or Wait: whether a changed script is loaded anew, and whether requests wait for that",
        ToDirectory(|directory, line| set(&mut directory.script_reloading, line.choice(&RELOADING)))),
    Directive::new(c"WSGIPassAuthorization", EverywhereFileInfo, Words,
        c"On or Off: whether an application sees the Authorization header",
        ToDirectory(|directory, line| set(&mut directory.pass_authorization, line.flag()))),
    Directive::new(c"WSGIPassApacheRequest", Everywhere, Words,
        c"On or Off: whether an application is given Apache's request",
        ToDirectory(|directory, line| set(&mut directory.pass_apache_request, line.flag()))),
    Directive::new(c"WSGIChunkedRequest", EverywhereFileInfo, Words,
        c"On or Off: whether a request body may come in chunks",
        ToDirectory(|directory, line| set(&mut directory.chunked_request, line.flag()))),
    Directive::new(c"WSGIMapHEADToGET", EverywhereFileInfo, Words,
        c"Off, On or Auto: whether an application sees GET in place of HEAD",
        ToDirectory(|directory, line| set(&mut directory.map_head_to_get, line.choice(&MAP_HEAD)))),
    Directive::new(c"WSGIErrorOverride", EverywhereFileInfo, Words,
        c"On or Off: whether Apache's error pages replace an application's",
        ToDirectory(|directory, line| set(&mut directory.error_override, line.flag()))),
    Directive::new(c"WSGIEnableSendfile", EverywhereFileInfo, Words,
        c"On or Off: whether wsgi.file_wrapper may use sendfile",
        ToDirectory(|directory, line| set(&mut directory.enable_sendfile, line.flag()))),
    Directive::new(c"WSGIIgnoreActivity", EverywhereFileInfo, Words,
        c"On or Off: whether a request leaves the inactivity timer alone",
        ToDirectory(|directory, line| set(&mut directory.ignore_activity, line.flag())))
        ,
    Directive::new(c"WSGIStatusRequestLines", Everywhere, Words,
        c"Off, Path or Full: what the status page shows of requests",
        ToDirectory(|directory, line|
            set(&mut directory.status_request_lines, line.choice(&REQUEST_LINES)))),
    // Behind a proxy.
    Directive::new(c"WSGITrustedProxyHeaders", EverywhereFileInfo, Raw,
        c"request headers in which a proxy describes the client",
        ToDirectory(directory::add_trusted_proxy_headers)),
    Directive::new(c"WSGITrustedProxies", EverywhereFileInfo, Raw,
        c"addresses and networks of the proxies that are trusted",
        ToDirectory(directory::add_trusted_proxies)),
    // Access control.
    Directive::new(c"WSGIAccessScript", DirectoryAuthConfig, Raw,
        c"script that says which hosts may come in",
        ToDirectory(|directory, line| set_script(&mut directory.access_script, line, "access")))
        .support(OWN_PYTHON),
    Directive::new(c"WSGIAuthUserScript", DirectoryAuthConfig, Raw,
        c"script that checks passwords",
        ToDirectory(|directory, line|
            set_script(&mut directory.auth_user_script, line, "auth user")))
        .support(OWN_PYTHON),
    Directive::new(c"WSGIAuthGroupScript", DirectoryAuthConfig, Raw,
        c"script that says which groups a user is in",
        ToDirectory(|directory, line|
            set_script(&mut directory.auth_group_script, line, "auth group")))
        .support(OWN_PYTHON),
    Directive::new(c"WSGIGroupAuthoritative", DirectoryAuthConfig, Words,
        c"On or Off: kept for compatibility",
        // mod_wsgi reads it as well, and does nothing with it.
        ToDirectory(|_, line| line.flag().map(drop))),
    // What is measured.
    Directive::new(c"WSGIServerMetrics", GlobalOnly, Words,
        c"On or Off: whether applications may read the server's figures",
        ToProcess(|process, line| set(&mut process.server_metrics, line.flag()))),
    Directive::new(c"WSGISlowRequests", GlobalOnly, Words,
        c"seconds after which a request is reported as slow",
        ToProcess(process_directives::set_slow_requests)),
    Directive::new(c"WSGITelemetryService", GlobalOnly, Words,
        c"unix:/path of the socket that figures are sent to, and interval=seconds",
        ToProcess(telemetry_directives::set_service)),
    Directive::new(c"WSGITelemetryOptions", GlobalOnly, Raw,
        c"None, All, or flags with or without a sign",
        ToProcess(telemetry_directives::set_options)),
    // What mod_wsgi had once.
    Directive::new(c"WSGIVerboseDebugging", GlobalOnly, Words,
        c"On or Off: LogLevel wsgi:debug does it now",
        ToProcess(note_verbose_debugging)),
    Directive::new(c"WSGILazyInitialization", GlobalOnly, Words,
        c"On or Off: kept for compatibility",
        ToProcess(|_, line| line.flag().map(drop)))
        .support(Support::Obsolete("Python is never started in the Apache parent process")),
    Directive::new(c"WSGIPy3kWarningFlag", GlobalOnly, Words,
        c"On or Off: kept for compatibility",
        ToProcess(|_, line| line.flag().map(drop)))
        .support(Support::Obsolete("it was about Python 2")),
    Directive::new(c"WSGINewRelicConfigFile", GlobalOnly, Words,
        c"path, kept for compatibility",
        ToProcess(|_, line| line.one().map(drop))).support(NEW_RELIC),
    Directive::new(c"WSGINewRelicEnvironment", GlobalOnly, Words,
        c"name, kept for compatibility",
        ToProcess(|_, line| line.one().map(drop))).support(NEW_RELIC),
    Directive::new(c"WSGIUserAuthoritative", DirectoryAuthConfig, Words,
        c"On or Off: kept for compatibility",
        ToDirectory(|_, line| line.flag().map(drop)))
        .support(AUTH_PROVIDERS),
];

/// With the numbers of Apache (`APLOG_ERR` and those after it).
const PRINT_LEVELS: [(&str, u8); 5] =
    [("error", 3), ("warn", 4), ("notice", 5), ("info", 6), ("debug", 7)];
/// Whether it is JSON.
const LOG_FORMATS: [(&str, bool); 2] = [("text", false), ("json", true)];
const RELOADING: [(&str, ScriptReloading); 3] =
    [("Off", ScriptReloading::Off), ("On", ScriptReloading::On), ("Wait", ScriptReloading::Wait)];
const REQUEST_LINES: [(&str, RequestLines); 3] =
    [("Off", RequestLines::Off), ("Path", RequestLines::Path), ("Full", RequestLines::Full)];
const MAP_HEAD: [(&str, MapHead); 3] =
    [("Off", MapHead::Off), ("On", MapHead::On), ("Auto", MapHead::Auto)];

/// The last line of a place counts.
fn set<T>(field: &mut Option<T>, value: Result<T, ConfigError>) -> Result<(), ConfigError> {
    *field = Some(value?);
    Ok(())
}

fn set_text(field: &mut Option<Bytes>, line: &Line<'_>) -> Result<(), ConfigError> {
    set(field, line.one().map(Bytes::from))
}

fn set_callable(field: &mut Option<Bytes>, line: &Line<'_>) -> Result<(), ConfigError> {
    line.check_callable(line.one()?)?;
    set_text(field, line)
}

fn set_group(field: &mut Option<Bytes>, line: &Line<'_>) -> Result<(), ConfigError> {
    set(field, line.one().map(global_is_empty))
}

fn set_application_group(field: &mut Option<Bytes>, line: &Line<'_>) -> Result<(), ConfigError> {
    line.warn_of_unknown_expansion(line.one()?, &EXPANSIONS);
    set_group(field, line)
}

fn set_script(
    field: &mut Option<Arc<Script>>,
    line: &Line<'_>,
    kind: &str,
) -> Result<(), ConfigError> {
    set(field, Script::parse(line, kind).map(Arc::new))
}

fn note_verbose_debugging(_: &mut ProcessConfig, line: &Line<'_>) -> Result<(), ConfigError> {
    line.flag()?;
    line.context.notice(&format!("{} has no effect: use LogLevel wsgi:debug", line.name()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::daemon_options::DAEMON_OPTIONS;
    use super::super::stub::{Configuration, configuration};
    use super::super::{Args, DIRECTIVES, Scope};
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        for (index, directive) in DIRECTIVES.iter().enumerate() {
            let before = &DIRECTIVES[..index];
            assert!(before.iter().all(|other| other.name != directive.name), "{directive:?}");
        }
    }

    #[test]
    fn a_flag_is_on_or_off_in_any_case_and_nothing_else() {
        let flags = DIRECTIVES.iter().filter(|directive| directive.help().starts_with("On or Off"));
        assert_eq!(flags.clone().count(), 22);
        for name in flags.map(Directive::name) {
            for word in ["On", "off", "ON", "oFF"] {
                configuration(&[&format!("{name} {word}")]);
            }
            assert_eq!(
                Configuration::default().refusal(&format!("{name} maybe")),
                format!("{name} must be one of: Off | On, not \"maybe\"")
            );
            for text in [name.to_owned(), format!("{name} On Off")] {
                let sentence = Configuration::default().refusal(&text);
                assert!(sentence.starts_with(&format!("{name} takes one argument, On or Off: ")));
            }
        }
    }

    #[test]
    fn a_single_value_goes_to_its_field_and_the_last_line_counts() {
        let written = configuration(&[
            "WSGIPythonHome /old",
            "WSGIPythonHome /srv/venv",
            "WSGIPythonEggs /var/eggs",
            "WSGIPythonPath \"/srv/a b:/srv/c\"",
            "WSGIPythonWarnings ignore",
            "WSGIPythonWarnings default::DeprecationWarning",
            "WSGICallableObject app",
            "WSGIApplicationGroup %{GLOBAL}",
            "WSGIProcessGroup site",
            "WSGIMapHEADToGET auto",
        ]);
        assert_eq!(written.process.python_home.as_deref(), Some(&b"/srv/venv"[..]));
        assert_eq!(written.process.python_eggs.as_deref(), Some(&b"/var/eggs"[..]));
        let path = &written.process.interpreter.python_path;
        assert_eq!(path.as_deref(), Some(&b"/srv/a b:/srv/c"[..]));
        let warnings: Vec<&[u8]> = written.process.python_warnings.iter().map(|it| &**it).collect();
        assert_eq!(warnings, [&b"ignore"[..], b"default::DeprecationWarning"]);
        assert_eq!(written.directory.callable_object.as_deref(), Some(&b"app"[..]));
        assert_eq!(written.directory.application_group.as_deref(), Some(&b""[..]));
        assert_eq!(written.directory.process_group.as_deref(), Some(&b"site"[..]));
        assert_eq!(written.directory.map_head_to_get, Some(MapHead::Auto));
    }

    #[test]
    fn flags_go_to_their_own_fields() {
        let off = |name: &str| configuration(&[&format!("{name} Off")]);
        assert_eq!(off("WSGIPassAuthorization").directory.pass_authorization, Some(false));
        assert_eq!(off("WSGIPassApacheRequest").directory.pass_apache_request, Some(false));
        assert_eq!(
            off("WSGIScriptReloading").directory.script_reloading,
            Some(ScriptReloading::Off)
        );
        assert_eq!(off("WSGIErrorOverride").directory.error_override, Some(false));
        assert_eq!(off("WSGIChunkedRequest").directory.chunked_request, Some(false));
        assert_eq!(off("WSGIIgnoreActivity").directory.ignore_activity, Some(false));
        assert_eq!(off("WSGIEnableSendfile").directory.enable_sendfile, Some(false));
        assert_eq!(off("WSGIDontWriteBytecode").process.dont_write_bytecode, Some(false));
        assert_eq!(off("WSGIDestroyInterpreter").process.destroy_interpreter, Some(false));
        assert_eq!(off("WSGIRestrictEmbedded").process.restrict_embedded, Some(false));
        assert_eq!(off("WSGICaseSensitivity").process.case_sensitivity, Some(false));
        assert_eq!(off("WSGISocketRotation").process.socket_rotation, Some(false));
        assert_eq!(off("WSGIServerMetrics").process.server_metrics, Some(false));
        assert_eq!(off("WSGIRestrictStdin").process.interpreter.restrict_stdin, Some(false));
        assert_eq!(off("WSGIRestrictStdout").process.interpreter.restrict_stdout, Some(false));
        assert_eq!(off("WSGIRestrictSignal").process.interpreter.restrict_signal, Some(false));
        assert_eq!(off("WSGIFreeThreading").process.interpreter.free_threading, Some(false));
        assert_eq!(
            off("WSGIPerInterpreterGIL").process.interpreter.per_interpreter_gil,
            Some(false)
        );
    }

    #[test]
    fn verbose_debugging_is_only_noted() {
        let written = configuration(&["WSGIVerboseDebugging On"]);
        assert_eq!(
            written.apache.notices.take(),
            ["WSGIVerboseDebugging has no effect: use LogLevel wsgi:debug"]
        );
        assert!(written.warnings().is_empty());
    }

    #[test]
    fn no_line_is_so_odd_that_reading_it_panics() {
        let odd: [&[u8]; 12] = [
            b"",
            b"=",
            b"\"",
            b"'\\",
            b"\xff\xfe",
            b"%{",
            b"a=",
            b"a= b",
            b"-",
            b"+1-",
            b"/",
            b">",
        ];
        let mut configuration = Configuration::default();
        for directive in &DIRECTIVES {
            for (first, second) in odd.iter().flat_map(|first| odd.map(|second| (*first, second))) {
                let words = [first, second];
                let rest = words.join(&b' ');
                let args = match directive.form {
                    Words => Args::Words(&words[usize::from(second.is_empty())..]),
                    Raw | Section => Args::Rest(&rest),
                };
                let Configuration { apache, process, server, directory, .. } = &mut configuration;
                let line = directive.line(args, apache, None);
                // Whether it is accepted does not matter here.
                let _ = directive.run(Scope::ServerFiles { process, server, directory }, &line);
            }
        }
    }

    const MANUAL: &str = include_str!("../../docs/directives.md");

    #[test]
    fn the_manual_describes_every_directive_and_no_other() {
        let mut described: Vec<&str> =
            MANUAL.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        described.retain(|heading| heading.contains("WSGI") || heading.contains("ASGI"));
        let mut names: Vec<&str> = DIRECTIVES.iter().map(Directive::name).collect();
        described.sort_unstable();
        names.sort_unstable();
        assert_eq!(described, names);
    }

    #[test]
    fn the_manual_names_the_right_contexts() {
        for directive in &DIRECTIVES {
            let name = directive.name();
            let section = MANUAL.split("\n## ").find(|text| text.lines().next() == Some(name));
            let section = section.expect(name);
            let (context, class) = match directive.contexts {
                GlobalOnly => ("server config", "none"),
                ServerWide => ("server config, virtual host", "none"),
                Everywhere => ("server config, virtual host, directory", "none"),
                EverywhereFileInfo => {
                    ("server config, virtual host, directory, .htaccess", "FileInfo")
                }
                DirectoryAuthConfig => ("directory, .htaccess", "AuthConfig"),
            };
            let context = match directive.in_section {
                true => format!("{context}, `<WSGIInterpreterOptions>`"),
                false => context.to_owned(),
            };
            let has = |line: &str| section.lines().any(|other| other == line);
            assert!(has(&format!("- **Context:** {context}")), "{name}: {context}");
            assert!(has(&format!("- **Override:** {class}")), "{name}: {class}");
            assert!(section.contains("- **Syntax:** `") && section.contains("- **Default:** "));
            let promised = section.contains("**Not yet:**");
            let works = matches!(
                directive.support,
                Support::Works | Support::NeedsPython | Support::Obsolete(_)
            );
            assert_eq!(promised, !works, "{name}: the manual must say whether it works");
        }
    }

    #[test]
    fn the_manual_has_a_row_for_every_option_of_a_daemon_process() {
        for option in &DAEMON_OPTIONS {
            let row = format!("| `{}` | {} | {} |", option.name, option.default, option.takes);
            assert!(MANUAL.contains(&row), "{row}");
        }
    }
}
