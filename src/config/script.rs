//! Scripts that are not reached through an alias: access, authentication, dispatch, handler and
//! import scripts. This file reads their lines; it never knows when a script runs.

use super::error::quoted;
use super::expansion::{EXPANSIONS, GLOBAL, SCRIPT_EXPANSIONS};
use super::options::Options;
use super::{Bytes, ConfigError, Line, ServerIdentity};

/// A script that runs beside a request: access, authentication, group or dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) path: Bytes,
    /// Unset means the main interpreter.
    pub(crate) application_group: Option<Bytes>,
}

/// A script that is an Apache handler of its own name; its callable is `handle_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandlerScript {
    pub(crate) name: Bytes,
    pub(crate) path: Bytes,
    pub(crate) process_group: Option<Bytes>,
    pub(crate) application_group: Option<Bytes>,
    pub(crate) pass_authorization: Option<bool>,
}

/// A script that is loaded when its process starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImportScript {
    pub(crate) path: Bytes,
    /// Empty means embedded mode.
    pub(crate) process_group: Bytes,
    /// Empty means the main interpreter.
    pub(crate) application_group: Bytes,
    /// The callable that requests will name, where that is known.
    pub(crate) callable: Option<Bytes>,
    /// Where it was written.
    pub(crate) server: ServerIdentity,
}

impl Script {
    /// `path [application-group=A]`, for the `kind` of script named in a sentence.
    pub(super) fn parse(line: &Line<'_>, kind: &str) -> Result<Self, ConfigError> {
        let mut words = line.words();
        let path = words.next_word().filter(|path| !path.is_empty());
        let Some(path) = path else {
            return Err(line.error(format_args!("needs the location of the {kind} script")));
        };
        let mut script = Self { path: line.script_path(&path)?, application_group: None };
        let mut options = Options::new(line, words, ["application-group"]);
        while let Some(option) = options.next_option()? {
            script.application_group = Some(option.application_group(&SCRIPT_EXPANSIONS)?);
        }
        Ok(script)
    }
}

impl HandlerScript {
    /// `name path [process-group=G] [application-group=A] [pass-authorization=On|Off]`
    pub(super) fn parse(line: &Line<'_>) -> Result<Self, ConfigError> {
        let mut words = line.words();
        let Some(name) = words.next_word().filter(|name| !name.is_empty()) else {
            return Err(line.error("needs the name of the handler"));
        };
        let Some(path) = words.next_word().filter(|path| !path.is_empty()) else {
            return Err(line.error(format_args!(
                "needs the location of the handler script for the handler {}",
                quoted(&name)
            )));
        };
        let mut script = Self {
            name: name.into(),
            path: line.script_path(&path)?,
            process_group: None,
            application_group: None,
            pass_authorization: None,
        };
        let allowed = ["process-group", "application-group", "pass-authorization"];
        let mut options = Options::new(line, words, allowed);
        while let Some(option) = options.next_option()? {
            match option.name {
                "process-group" => script.process_group = Some(option.process_group()?),
                "application-group" => {
                    script.application_group = Some(option.application_group(&EXPANSIONS)?);
                }
                _ => script.pass_authorization = Some(option.flag()?),
            }
        }
        Ok(script)
    }
}

impl ImportScript {
    /// `path process-group=G application-group=A`
    pub(super) fn parse(line: &Line<'_>) -> Result<Self, ConfigError> {
        let mut words = line.words();
        let Some(path) = words.next_word().filter(|path| !path.is_empty()) else {
            return Err(line.error("needs the location of the import script"));
        };
        let path = line.script_path(&path)?;
        let (mut process_group, mut application_group) = (None, None);
        let mut options = Options::new(line, words, ["process-group", "application-group"]);
        while let Some(option) = options.next_option()? {
            match option.name {
                "process-group" => process_group = Some(option.process_group()?),
                _ => application_group = Some(option.application_group(&[GLOBAL])?),
            }
        }
        let missing = |option: &str| line.error(format_args!("needs the option {option}="));
        Ok(Self {
            path,
            process_group: process_group.ok_or_else(|| missing("process-group"))?,
            application_group: application_group.ok_or_else(|| missing("application-group"))?,
            callable: None,
            server: line.context.server(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Configuration, configuration};

    #[cfg(feature = "embedded")]
    #[test]
    fn a_script_beside_the_request_has_a_path_and_perhaps_a_group() {
        for (name, kind) in [
            ("WSGIAccessScript", "access"),
            ("WSGIAuthUserScript", "auth user"),
            ("WSGIAuthGroupScript", "auth group"),
            ("WSGIDispatchScript", "dispatch"),
        ] {
            let written = configuration(&[&format!("{name} \"a b.wsgi\" application-group=x")]);
            let directory = &written.directory;
            let script = match kind {
                "access" => &directory.access_script,
                "auth user" => &directory.auth_user_script,
                "auth group" => &directory.auth_group_script,
                _ => &directory.dispatch_script,
            };
            let script = script.as_ref().expect(name);
            assert_eq!(&*script.path, b"/etc/apache2/a b.wsgi");
            assert_eq!(script.application_group.as_deref(), Some(&b"x"[..]));

            let mut refused = Configuration::default();
            assert_eq!(
                refused.refusal(&format!("{name} \"\"")),
                format!("{name} needs the location of the {kind} script")
            );
            assert_eq!(
                refused.refusal(&format!("{name} /a application-group=")),
                format!(
                    "{name}: application-group=\"\" is not allowed, it must name an application \
                     group"
                )
            );
            assert_eq!(
                refused.refusal(&format!("{name} /a process-group=x")),
                format!(
                    "{name} has no option \"process-group\"; it takes name=value with one of these \
                     names: application-group"
                )
            );
        }
    }

    #[test]
    fn a_handler_script_has_a_name_a_path_and_options() {
        let written = configuration(&[
            "WSGIHandlerScript wsgi-handler /srv/handler.wsgi process-group='host:8000' \
             application-group=%{GLOBAL} pass-authorization=on",
        ]);
        let scripts = written.directory.handler_scripts.expect("a script is set");
        assert_eq!(&*scripts[0].name, b"wsgi-handler");
        assert_eq!(scripts[0].process_group.as_deref(), Some(&b"host:8000"[..]));
        assert_eq!(scripts[0].application_group.as_deref(), Some(&b""[..]));
        assert_eq!(scripts[0].pass_authorization, Some(true));
        for (arguments, refusal) in [
            ("", " needs the name of the handler"),
            ("x", " needs the location of the handler script for the handler \"x\""),
            ("x /y pass-authorization=2", ": pass-authorization=\"2\" must be one of: Off | On"),
            (
                "x /y callable-object=z",
                " has no option \"callable-object\"; it takes name=value with one of these names: \
                 process-group, application-group, pass-authorization",
            ),
        ] {
            let sentence =
                Configuration::default().refusal(&format!("WSGIHandlerScript {arguments}"));
            assert_eq!(sentence, format!("WSGIHandlerScript{refusal}"));
        }
    }
}
