//! Which applications the configuration puts into a process, and whether it is only one (design decision D5).
//! It never knows a request.
#![forbid(unsafe_code)]

use crate::alias_targets::AliasTargets;
use crate::aliases_of::AliasesOf;
use crate::config::{Location, ProcessConfig, ScriptAlias};
use std::collections::HashSet;

/// Whether the aliases of `servers` that are served by `process_group` all mean one application group,
/// and nothing else in the configuration names another. In doubt the answer is no: then each group gets
/// the interpreter mod_wsgi would give it.
pub(crate) fn has_single_application(
    process: &ProcessConfig,
    process_group: &[u8],
    servers: &[AliasesOf<'_>],
    targets: &AliasTargets,
) -> bool {
    // Scripts that are not of aliases have groups of their own, or choose some for each request.
    let beside = process_group.is_empty() && process.access_scripts > 0;
    if beside || process.dispatch_scripts > 0 || process.handler_scripts > 0 {
        return false;
    }
    // A section that names an interpreter is for an interpreter of that name.
    let sections = process.interpreter_sections.iter();
    if sections.map(|section| &section.selector).any(|it| it.names_sub_interpreter(process_group)) {
        return false;
    }
    // Such a line may hold for a part of an alias' URLs, or name the main interpreter for others.
    if process.groups_in_sections > 0 {
        return false;
    }
    let imported = process.import_scripts.iter();
    let mut groups: HashSet<Vec<u8>> = imported
        .filter(|script| *script.process_group == *process_group)
        .map(|script| script.application_group.to_vec())
        .collect();
    let mut aliased = false;
    for (server, alias) in aliases(process_group, servers) {
        match group(server, alias, targets) {
            Some(group) => groups.insert(group),
            None => return false,
        };
        aliased = true;
    }
    aliased && groups.len() == 1
}

/// The scripts that aliases lead to in `process_group`, each with its application group where that does not
/// depend on the request; the main interpreter's is empty.
pub(crate) fn scripts<'a>(
    process_group: &[u8],
    servers: &[AliasesOf<'a>],
    targets: &AliasTargets,
) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
    let mut found = Vec::new();
    for (server, alias) in aliases(process_group, servers) {
        let group = alias.application_group.as_deref().or(server.application_group);
        let script = (&*alias.target, group.filter(|group| !group.starts_with(b"%")));
        if targets.is_file(&alias.target) && !found.contains(&script) {
            found.push(script);
        }
    }
    found
}

fn aliases<'a, 's>(
    process_group: &[u8],
    servers: &'s [AliasesOf<'a>],
) -> impl Iterator<Item = (&'s AliasesOf<'a>, &'a ScriptAlias)> {
    servers.iter().flat_map(move |server| {
        let default = server.process_group.unwrap_or_default();
        let here = move |alias: &&&'a ScriptAlias| {
            alias.process_group.as_deref().unwrap_or(default) == process_group
        };
        server.aliases.iter().filter(here).map(move |alias| (server, *alias))
    })
}

/// What tells an alias' application group from others; `None` when that depends on the request.
fn group(server: &AliasesOf<'_>, alias: &ScriptAlias, targets: &AliasTargets) -> Option<Vec<u8>> {
    let Location::Prefix(prefix) = &alias.location else { return None };
    if alias.target.ends_with(b"/") || targets.is_directory(&alias.target) {
        return None;
    }
    let port = if matches!(server.port, 80 | 443) { 0 } else { server.port };
    let server_name = || [server.name, b":", port.to_string().as_bytes()].concat();
    match alias.application_group.as_deref().or(server.application_group) {
        None | Some(b"%{RESOURCE}") => {
            Some([b"%", &server_name()[..], b"|", prefix, b"|", &alias.target].concat())
        }
        Some(b"%{SERVER}") => Some([b"%", &server_name()[..]].concat()),
        Some(literal) if !literal.starts_with(b"%") => Some(literal.to_vec()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ImportScript, ServerIdentity};

    fn alias(prefix: &str, target: &str, application_group: Option<&str>) -> ScriptAlias {
        ScriptAlias {
            location: Location::Prefix(prefix.as_bytes().into()),
            target: target.as_bytes().into(),
            process_group: None,
            application_group: application_group.map(|group| group.as_bytes().into()),
            callable_object: None,
            pass_authorization: None,
            interface: group_config::Interface::Wsgi,
            mark: c"wsgi-script".to_owned(),
        }
    }

    #[test]
    fn one_application_is_alone_and_two_are_not() {
        let a = alias("/", "/srv/a.wsgi", None);
        let b = alias("/b", "/srv/b.wsgi", None);
        let named = alias("/", "/srv/a.wsgi", Some("site"));
        let named_too = alias("/x", "/srv/x.wsgi", Some("site"));
        let by_host = alias("/", "/srv/a.wsgi", Some("%{HOST}"));
        let folder = alias("/", "/tmp", None);
        type Server<'a> = (&'a str, u16, &'a [&'a ScriptAlias]);
        let table: [(&[Server<'_>], bool); 9] = [
            (&[("x", 0, &[&a])], true),
            (&[("x", 80, &[&a]), ("x", 443, &[&a])], true),
            (&[("x", 0, &[&a]), ("y", 0, &[&a])], false),
            (&[("x", 0, &[&a, &b])], false),
            (&[("x", 0, &[&named]), ("y", 0, &[&named_too])], true),
            (&[("x", 0, &[&named, &b])], false),
            (&[("x", 0, &[&by_host])], false),
            (&[("x", 0, &[&folder])], false),
            (&[("x", 0, &[])], false),
        ];
        let targets = AliasTargets::with_directory(b"/tmp");
        for (servers, expected) in table {
            let servers: Vec<_> = servers
                .iter()
                .map(|(name, port, aliases)| AliasesOf {
                    name: name.as_bytes(),
                    port: *port,
                    aliases: aliases.to_vec(),
                    process_group: None,
                    application_group: None,
                })
                .collect();
            assert_eq!(
                has_single_application(&ProcessConfig::default(), b"", &servers, &targets),
                expected
            );
        }
        let in_one_group = |sections| {
            let site = Some(&b"site"[..]);
            let server = AliasesOf {
                name: b"x",
                port: 0,
                aliases: vec![&a, &b],
                process_group: site,
                application_group: site,
            };
            let process =
                ProcessConfig { groups_in_sections: sections, ..ProcessConfig::default() };
            let servers = [server];
            (
                has_single_application(&process, b"site", &servers, &AliasTargets::unknown()),
                has_single_application(&process, b"", &servers, &AliasTargets::unknown()),
            )
        };
        assert_eq!((in_one_group(0), in_one_group(1)), ((true, false), (false, false)));
    }

    #[test]
    fn scripts_that_are_not_of_aliases_keep_the_application_apart() {
        let site = alias("/", "/srv/a.wsgi", Some("site"));
        let server = |aliases: Vec<_>| AliasesOf {
            name: b"x",
            port: 0,
            aliases: aliases.into_iter().collect(),
            process_group: None,
            application_group: None,
        };
        let import = |group: &str| ImportScript {
            path: b"/srv/i.wsgi".as_slice().into(),
            process_group: b"".as_slice().into(),
            application_group: group.as_bytes().into(),
            callable: None,
            server: ServerIdentity::default(),
        };
        let plain = ProcessConfig::default;
        let table = [
            (plain(), true, true),
            (ProcessConfig { import_scripts: vec![import("site")], ..plain() }, true, true),
            (ProcessConfig { import_scripts: vec![import("other")], ..plain() }, true, false),
            (ProcessConfig { import_scripts: vec![import("site")], ..plain() }, false, false),
            (ProcessConfig { access_scripts: 1, ..plain() }, true, false),
            (ProcessConfig { dispatch_scripts: 1, ..plain() }, true, false),
            (ProcessConfig { handler_scripts: 1, ..plain() }, true, false),
        ];
        for (process, aliased, expected) in table {
            let servers = [server(if aliased { vec![&site] } else { vec![] })];
            assert_eq!(
                has_single_application(&process, b"", &servers, &AliasTargets::unknown()),
                expected,
                "{process:?}"
            );
        }
    }
}
