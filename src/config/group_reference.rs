//! The lines that name a process group, and whether there is such a group. A group may be defined after the
//! line that names it, so this is known when all lines have been read. It never knows a request: what `%{…}`
//! comes to is found out there.

use super::error::quoted;
use super::expansion::{EXPANSIONS, is_expansion};
use super::process_group::{Hidden, visibility};
use super::suggestion::did_you_mean;
use super::{Bytes, ConfigError, DaemonProcess, Line, ServerIdentity, ServerNames};

/// A line that names a process group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupReference {
    /// Not empty: embedded mode is no group.
    pub(crate) name: Bytes,
    directive: &'static str,
    /// `file:line`
    place: String,
    server: ServerIdentity,
}

impl GroupReference {
    /// What the line's `group` refers to; `None` where that is embedded mode.
    pub(super) fn of(line: &Line<'_>, group: Option<&[u8]>) -> Option<Self> {
        Some(Self {
            name: group.filter(|name| !name.is_empty())?.into(),
            directive: line.name(),
            place: line.context.place(),
            server: line.context.server(),
        })
    }

    /// Whether the group depends on the request. What is no expansion is a name, and that of no group.
    pub(crate) fn is_expanded(&self) -> bool {
        is_expansion(&self.name, &EXPANSIONS)
    }

    /// Where no group has the name, by what the line means it with: the sentence that says so.
    pub(crate) fn undefined_hint(&self, groups: &[DaemonProcess]) -> Option<String> {
        let is_meant = |group: &DaemonProcess| match self.directive {
            // Its names have no case.
            "WSGIRestrictProcess" => group.name.eq_ignore_ascii_case(&self.name),
            _ => group.name == self.name,
        };
        (!groups.iter().any(is_meant)).then(|| self.undefined(groups))
    }

    fn undefined(&self, groups: &[DaemonProcess]) -> String {
        let Self { name, directive, place, .. } = self;
        let names = groups.iter().map(|group| &*group.name);
        let known = names.chain(EXPANSIONS.map(str::as_bytes));
        format!(
            "{directive} names the process group {}, which no WSGIDaemonProcess defines{}; {} ({place})",
            quoted(name),
            did_you_mean(name, known),
            existing(groups),
        )
    }

    fn check(&self, groups: &[DaemonProcess], names: &ServerNames) -> Result<(), ConfigError> {
        let Self { name, directive, place, server } = self;
        if self.is_expanded() {
            return Ok(());
        }
        let shown = quoted(name);
        let Some(group) = groups.iter().find(|group| group.name == *name) else {
            return Err(ConfigError::new(self.undefined(groups)));
        };
        // A line of the main server holds in virtual hosts, too, and may be meant for that of the group.
        if !server.is_virtual {
            return Ok(());
        }
        let defined_at = &group.server.defined_at;
        let why = match visibility(&group.server, names.of(server)) {
            Ok(()) => return Ok(()),
            Err(Hidden::NotAccessible) => "has another ServerName",
            Err(Hidden::NotMatchable) => {
                "has a ServerName and this one not, or the other way round"
            }
        };
        Err(ConfigError::new(format!(
            "{directive} names the process group {shown}, which is not for this virtual host: the one at \
             {defined_at} that defines it {why} ({place})"
        )))
    }
}

/// The groups there are, for a sentence.
fn existing(groups: &[DaemonProcess]) -> String {
    if groups.is_empty() {
        return "there is none".to_owned();
    }
    let names: Vec<_> = groups.iter().map(|group| quoted(&group.name)).collect();
    format!("there are: {}", names.join(", "))
}

/// Refuses the first of `references` that names a group which is not among `groups`, or which belongs to
/// another virtual host.
pub(crate) fn check_group_references(
    references: &[GroupReference],
    groups: &[DaemonProcess],
    names: &ServerNames,
) -> Result<(), ConfigError> {
    references.iter().try_for_each(|reference| reference.check(groups, names))
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Configuration, configuration};
    use super::*;

    fn checked(lines: &[&str]) -> Result<(), String> {
        let process = configuration(lines).process;
        let names = ServerNames::default();
        check_group_references(&process.group_references, &process.daemon_processes, &names)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_group_that_is_named_is_defined_somewhere() {
        let group = "WSGIDaemonProcess example.com";
        for line in [
            "WSGIProcessGroup NAME",
            "WSGIScriptAlias / /srv/app.wsgi process-group=NAME",
            "WSGIScriptAliasMatch ^/a /srv/app.wsgi process-group=NAME",
            "WSGIHandlerScript name /srv/app.wsgi process-group=NAME",
        ] {
            let naming = |name: &str| line.replace("NAME", name);
            for name in ["example.com", "%{GLOBAL}", "%{HOST}", "%{ENV:GROUP}"] {
                // Before the group is defined.
                assert_eq!(checked(&[&naming(name), group]), Ok(()), "{line}");
            }
            let directive = line.split(' ').next().unwrap();
            assert_eq!(
                checked(&[&naming("exmaple.com"), group]),
                Err(format!(
                    "{directive} names the process group \"exmaple.com\", which no WSGIDaemonProcess \
                     defines (did you mean \"example.com\"?); there are: \"example.com\" (stub.conf:1)"
                ))
            );
            assert_eq!(
                checked(&[&naming("site")]),
                Err(format!(
                    "{directive} names the process group \"site\", which no WSGIDaemonProcess defines; \
                     there is none (stub.conf:1)"
                ))
            );
        }
    }

    #[test]
    fn a_group_of_a_virtual_host_is_named_by_hosts_of_its_name() {
        let mut written = Configuration::default();
        let mut host = |name: &str, lines: &[&str]| {
            written.apache.server = ServerIdentity {
                name: Some(name.as_bytes().to_vec()),
                is_virtual: name != "main",
                port: 80,
                defined_at: format!("{name}.conf:1"),
            };
            written.read_all(lines);
            let (process, names) = (&written.process, ServerNames::default());
            check_group_references(&process.group_references, &process.daemon_processes, &names)
                .map_err(|error| error.to_string())
        };
        assert_eq!(host("a", &["WSGIDaemonProcess site", "WSGIProcessGroup site"]), Ok(()));
        assert_eq!(host("a", &["WSGIProcessGroup site"]), Ok(()));
        assert_eq!(host("main", &["WSGIProcessGroup site"]), Ok(()));
        assert_eq!(
            host("b", &["WSGIProcessGroup site"]),
            Err("WSGIProcessGroup names the process group \"site\", which is not for this virtual host: \
                 the one at a.conf:1 that defines it has another ServerName (stub.conf:1)"
                .to_owned())
        );
    }
}
