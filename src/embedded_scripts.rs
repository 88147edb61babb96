//! Whether the configuration names a script that runs in Apache's own processes, so that Python is started with them;
//! where it does not, a request may still lead to one. It never knows a request.
#![forbid(unsafe_code)]

use crate::aliases_of::AliasesOf;
use crate::config::ProcessConfig;

/// Whether a line names such a script. In doubt the answer is no: then the first request that needs Python starts it.
pub(crate) fn names_embedded_script(process: &ProcessConfig, servers: &[AliasesOf<'_>]) -> bool {
    let is_embedded = |group: &[u8]| group.is_empty();
    if process.access_scripts + process.dispatch_scripts > 0
        || process.import_scripts.iter().any(|script| is_embedded(&script.process_group))
    {
        return true;
    }
    if process.restrict_embedded.unwrap_or(false) {
        return false;
    }
    // Without a process group there is nothing that a section or a `%{…}` could choose.
    let has_groups = !process.daemon_processes.is_empty();
    if !has_groups && process.handler_scripts > 0 {
        return true;
    }
    let is_uncertain = has_groups && process.process_groups_in_sections > 0;
    servers.iter().any(|server| {
        let mut groups = server.aliases.iter().map(|alias| alias.process_group.as_deref());
        groups.any(|own| match own {
            Some(group) => is_embedded(group),
            None => !is_uncertain && is_embedded(server.process_group.unwrap_or_default()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ImportScript, Location, ScriptAlias, ServerIdentity};

    fn alias(process_group: Option<&str>) -> ScriptAlias {
        ScriptAlias {
            location: Location::Prefix(b"/".as_slice().into()),
            target: b"/srv/a.wsgi".as_slice().into(),
            process_group: process_group.map(|group| group.as_bytes().into()),
            application_group: None,
            callable_object: None,
            pass_authorization: None,
            interface: group_config::Interface::Wsgi,
            mark: c"wsgi-script".to_owned(),
        }
    }

    fn named(process: &ProcessConfig, own: Option<&str>, default: Option<&str>) -> bool {
        let alias = alias(own);
        let server = AliasesOf {
            name: b"x",
            port: 0,
            aliases: vec![&alias],
            process_group: default.map(str::as_bytes),
            application_group: None,
        };
        names_embedded_script(process, &[server])
    }

    #[test]
    fn an_alias_leads_to_apaches_processes_unless_it_or_its_server_names_a_group() {
        let table = [
            (None, None, true),
            (Some(""), None, true),
            (Some(""), Some("site"), true),
            (None, Some(""), true),
            (None, Some("site"), false),
            (Some("site"), None, false),
            (Some("%{ENV:GROUP}"), None, false),
            (None, Some("%{ENV:GROUP}"), false),
        ];
        for (own, default, expected) in table {
            assert_eq!(
                named(&ProcessConfig::default(), own, default),
                expected,
                "{own:?} {default:?}"
            );
        }
        let restricted =
            ProcessConfig { restrict_embedded: Some(true), ..ProcessConfig::default() };
        assert!(!named(&restricted, None, None));
    }

    #[test]
    fn scripts_of_the_server_count_and_those_of_groups_do_not() {
        let plain = ProcessConfig::default;
        let import = |group: &str| ImportScript {
            path: b"/srv/i.wsgi".as_slice().into(),
            process_group: group.as_bytes().into(),
            application_group: b"".as_slice().into(),
            callable: None,
            server: ServerIdentity::default(),
        };
        let table = [
            (plain(), false),
            (ProcessConfig { import_scripts: vec![import("")], ..plain() }, true),
            (ProcessConfig { import_scripts: vec![import("site")], ..plain() }, false),
            (ProcessConfig { access_scripts: 1, ..plain() }, true),
            (ProcessConfig { dispatch_scripts: 1, ..plain() }, true),
            (ProcessConfig { handler_scripts: 1, ..plain() }, true),
            (ProcessConfig { handler_scripts: 1, restrict_embedded: Some(true), ..plain() }, false),
        ];
        for (process, expected) in table {
            assert_eq!(names_embedded_script(&process, &[]), expected, "{process:?}");
        }
    }
}
