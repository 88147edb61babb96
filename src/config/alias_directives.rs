//! The lines of `WSGIScriptAlias` and `WSGIScriptAliasMatch`, `ASGIScriptAlias` and `ASGIScriptAliasMatch`.

use group_config::Interface;
use std::ffi::CString;
use std::sync::Arc;

use super::asgi_options::interface;
use super::error::quoted;
use super::expansion::EXPANSIONS;
use super::options::Options;
use super::process_group::reachable;
use super::{
    Bytes, ConfigError, GroupReference, ImportScript, InterfaceReference, Line, Location,
    ProcessConfig, ScriptAlias, ServerConfig,
};

/// `WSGIScriptAlias`, `ASGIScriptAlias`
pub(super) fn add_script_alias(
    server: &mut ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    add(server, process, line, |prefix| Ok(Location::Prefix(prefix.into())))
}

/// `WSGIScriptAliasMatch`, `ASGIScriptAliasMatch`
pub(super) fn add_script_alias_match(
    server: &mut ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    add(server, process, line, |pattern| match line.context.compile(pattern) {
        Some(compiled) => Ok(Location::Pattern(compiled)),
        None => Err(line.error(format_args!(
            "has {}, which could not be compiled as a regular expression",
            quoted(pattern)
        ))),
    })
}

fn add(
    server: &mut ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
    locate: impl FnOnce(&[u8]) -> Result<Location, ConfigError>,
) -> Result<(), ConfigError> {
    let alias = parse(line, locate)?;
    process.group_references.extend(GroupReference::of(line, alias.process_group.as_deref()));
    process.interface_references.extend(InterfaceReference::of(
        line,
        alias.process_group.as_deref(),
        alias.interface,
    ));
    if let Some(script) = preload(line, process, &alias)? {
        process.import_scripts.push(script);
    }
    server.script_aliases.push(Arc::new(alias));
    Ok(())
}

fn parse(
    line: &Line<'_>,
    locate: impl FnOnce(&[u8]) -> Result<Location, ConfigError>,
) -> Result<ScriptAlias, ConfigError> {
    let mut words = line.words();
    let location = words.next_word().filter(|location| !location.is_empty());
    let target = words.next_word().filter(|target| !target.is_empty());
    let (Some(location), Some(target)) = (location, target) else {
        return Err(line.arity_error("requires at least two arguments"));
    };
    let location = locate(&location)?;
    let substituted = matches!(location, Location::Pattern(_)) && target.starts_with(b"$");
    let mut alias = ScriptAlias {
        location,
        target: if substituted { target.into() } else { line.script_path(&target)? },
        process_group: None,
        application_group: None,
        callable_object: None,
        pass_authorization: None,
        interface: if line.name().starts_with("ASGI") { Interface::Asgi } else { Interface::Wsgi },
        mark: CString::default(),
    };
    let mut options = Options::new(
        line,
        words,
        [
            "process-group",
            "application-group",
            "callable-object",
            "pass-authorization",
            "interface",
        ],
    );
    while let Some(option) = options.next_option()? {
        match option.name {
            "process-group" => alias.process_group = Some(option.process_group()?),
            "application-group" => {
                alias.application_group = Some(option.application_group(&EXPANSIONS)?);
            }
            "callable-object" => {
                let name = option.not_empty("a callable object")?;
                line.check_callable(name)?;
                alias.callable_object = Some(name.into());
            }
            "interface" => alias.interface = interface(&option)?,
            _ => alias.pass_authorization = Some(option.flag()?),
        }
    }
    if alias.interface != Interface::Wsgi && alias.process_group.as_deref() == Some(b"") {
        return Err(line.error(
            "names %{GLOBAL} for the process group; applications of ASGI are served by a WSGIDaemonProcess, \
             not in Apache's own processes; so are those of interface=auto",
        ));
    }
    alias.mark = ScriptAlias::handler(alias.interface).to_owned();
    Ok(alias)
}

/// A script whose groups and path are known without a request is loaded when its process starts.
fn preload(
    line: &Line<'_>,
    process: &ProcessConfig,
    alias: &ScriptAlias,
) -> Result<Option<ImportScript>, ConfigError> {
    // Applications of ASGI share the main interpreter, and so do those that may be ones.
    let main = (alias.interface != Interface::Wsgi).then(Bytes::default);
    let application_group = main.as_ref().or(alias.application_group.as_ref());
    let (Some(process_group), Some(application_group)) = (&alias.process_group, application_group)
    else {
        return Ok(None);
    };
    let expands = |name: &[u8]| name.windows(2).any(|pair| pair == b"%{");
    let substitutes =
        matches!(alias.location, Location::Pattern(_)) && alias.target.contains(&b'$');
    let directory = alias.target.ends_with(b"/");
    if expands(process_group) || expands(application_group) || substitutes || directory {
        return Ok(None);
    }
    // An alias may stand before its group.
    if !process_group.is_empty() && alias.interface == Interface::Wsgi {
        reachable(line, &process.daemon_processes, process_group)?;
    }
    Ok(Some(ImportScript {
        path: alias.target.clone(),
        process_group: process_group.clone(),
        application_group: application_group.clone(),
        callable: match alias.interface {
            Interface::Wsgi => None,
            Interface::Asgi => alias.callable_object.clone(),
            // By this a worker knows which of its scripts decide.
            Interface::Auto => {
                Some(alias.callable_object.clone().unwrap_or(b"application".as_slice().into()))
            }
        },
        server: line.context.server(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Configuration, configuration, with_line};
    use super::super::{DaemonProcess, ServerIdentity};
    use super::*;

    #[test]
    fn an_alias_carries_its_options() {
        let written = configuration(&[
            "WSGIScriptAlias / /app process-group=%{GLOBAL} application-group='a b' \
             callable-object=app pass-authorization=on",
        ]);
        let alias = &written.server.script_aliases[0];
        assert_eq!(alias.process_group.as_deref(), Some(&b""[..]));
        assert_eq!(alias.application_group.as_deref(), Some(&b"a b"[..]));
        assert_eq!(alias.callable_object.as_deref(), Some(&b"app"[..]));
        assert_eq!(alias.pass_authorization, Some(true));
        let factory = configuration(&["WSGIScriptAlias / /app callable-object=create_app()"]);
        let alias = &factory.server.script_aliases[0];
        assert_eq!(alias.callable_object.as_deref(), Some(&b"create_app()"[..]));
    }

    #[test]
    fn a_malformed_alias_is_refused() {
        let two =
            " requires at least two arguments, URL path, script file or directory, and options";
        for (arguments, refusal) in [
            ("", two),
            ("/app", two),
            ("/app \"\"", two),
            (
                "/ /app process-group=",
                ": process-group=\"\" is not allowed, it must name a process group",
            ),
            (
                "/ /app application-group=",
                ": application-group=\"\" is not allowed, it must name an application group",
            ),
            (
                "/ /app callable-object=''",
                ": callable-object=\"\" is not allowed, it must name a callable object",
            ),
            (
                "/ /app callable-object=make(1)",
                " must name a callable object, or a function that makes one and needs no arguments, such as \
                 create_app(), not \"make(1)\"; write \"application = make(1)\" into the script instead",
            ),
            ("/ /app pass-authorization=1", ": pass-authorization=\"1\" must be one of: Off | On"),
            (
                "/ /app threads=5",
                " has no option \"threads\"; it takes name=value with one of these names: \
                 process-group, application-group, callable-object, pass-authorization, interface",
            ),
        ] {
            let sentence =
                Configuration::default().refusal(&format!("WSGIScriptAlias {arguments}"));
            assert_eq!(sentence, format!("WSGIScriptAlias{refusal}"));
        }
        assert_eq!(
            Configuration::default().refusal("WSGIScriptAliasMatch ^/( /app"),
            "WSGIScriptAliasMatch has \"^/(\", which could not be compiled as a regular expression"
        );
    }

    #[test]
    fn a_script_whose_groups_are_fully_named_is_loaded_at_start() {
        for (line, loaded) in [
            ("WSGIScriptAlias / /a process-group=%{GLOBAL} application-group=%{GLOBAL}", true),
            ("WSGIScriptAlias / /a process-group=%{GLOBAL} application-group=x", true),
            ("WSGIScriptAlias / /a process-group=%{GLOBAL}", false),
            ("WSGIScriptAlias / /a application-group=x", false),
            ("WSGIScriptAlias / /a process-group=%{GLOBAL} application-group=%{SERVER}", false),
            ("WSGIScriptAlias / /$a process-group=%{GLOBAL} application-group=x", true),
            ("WSGIScriptAlias / /a/ process-group=%{GLOBAL} application-group=x", false),
            ("WSGIScriptAliasMatch ^/ /a process-group=%{GLOBAL} application-group=x", true),
            ("WSGIScriptAliasMatch ^/ /a$0 process-group=%{GLOBAL} application-group=x", false),
        ] {
            let scripts = configuration(&[line]).process.import_scripts;
            assert_eq!(scripts.len(), usize::from(loaded), "{line}");
        }
    }

    #[test]
    fn a_script_loaded_at_start_needs_a_group_that_its_server_may_use() {
        let mut configuration = Configuration::default();
        let server = |name: Option<&str>, is_virtual| ServerIdentity {
            name: name.map(|name| name.as_bytes().to_vec()),
            is_virtual,
            defined_at: format!("{}.conf:3", name.unwrap_or("default")),
            ..ServerIdentity::default()
        };
        let mut main = DaemonProcess::new(b"main", server(None, false));
        main.config.threads = 1;
        configuration.process.daemon_processes =
            vec![main, DaemonProcess::new(b"site", server(Some("a"), true))];
        configuration.process.daemon_processes.push(DaemonProcess::new(b"early", {
            // Its ServerName came after the group.
            ServerIdentity { name: None, ..server(Some("a"), true) }
        }));
        for (from, group, refusal) in [
            (Some("a"), "main", None),
            (Some("a"), "site", None),
            (Some("a"), "early", None),
            (Some("b"), "early", Some("not matchable")),
            (Some("b"), "site", Some("not accessible")),
            (None, "site", Some("not matchable")),
            (Some("a"), "none", Some("not yet configured")),
        ] {
            configuration.apache.server = server(from, true);
            let text = format!("WSGIScriptAlias / /a process-group={group} application-group=x");
            let result = with_line(&configuration.apache, None, &text, |_, line| {
                let alias = parse(line, |prefix| Ok(Location::Prefix(prefix.into())))?;
                preload(line, &configuration.process, &alias)
            });
            match (result, refusal) {
                (Ok(script), None) => assert!(script.is_some(), "{text}"),
                (Err(error), Some(refusal)) => {
                    assert!(error.to_string().contains(refusal), "{error}");
                }
                (result, _) => panic!("{text} from {from:?}: {result:?}"),
            }
        }
    }
}
