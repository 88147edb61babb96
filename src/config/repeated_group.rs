//! Lines that define a process group which a virtual host before has defined: a virtual host for HTTPS that certbot has
//! copied, for one. With the same options it is one group, for virtual hosts of one `ServerName`. It never knows a
//! running process.

use super::error::quoted;
use super::process_group::{Hidden, visibility};
use super::{Bytes, ConfigError, DaemonProcess, Line, ServerIdentity, ServerNames};

/// What to do about two groups of one name in two virtual hosts.
const REMEDY: &str =
    "take another name, or move one line out of the virtual hosts and remove the other";

/// A line that defines a group again, with the same options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepeatedGroup {
    name: Bytes,
    /// `file:line`
    place: String,
    server: ServerIdentity,
}

impl RepeatedGroup {
    /// The `line`, which defines `group`, where `first` has the name already.
    ///
    /// # Errors
    /// Where it can be no other definition of the same group.
    pub(super) fn of(
        line: &Line<'_>,
        first: &DaemonProcess,
        group: &DaemonProcess,
    ) -> Result<Self, ConfigError> {
        let name = quoted(&group.name);
        // httpd knows no line of the main server.
        if !first.server.is_virtual {
            return Err(line.error(format_args!(
                "{name} duplicates a previous definition, in the main server; remove this line, or \
                 take another name"
            )));
        }
        let place = &first.server.defined_at;
        if !group.server.is_virtual || *place == group.server.defined_at {
            return Err(line.error(format_args!(
                "{name} duplicates a previous definition; remove one of the lines, or take another \
                 name; the first is in the server at {place}"
            )));
        }
        if (&first.config, &first.forwarding) != (&group.config, &group.forwarding) {
            return Err(line.error(format_args!(
                "{name} duplicates a previous definition, with other options; give both lines the \
                 same options, {REMEDY}; the first is in the server at {place}"
            )));
        }
        // A ServerName that comes later is looked at when all lines have been read.
        let hidden = visibility(&first.server, group.server.name.as_deref());
        if hidden == Err(Hidden::NotAccessible) {
            return Err(line.error(other_host(&name, place)));
        }
        let (name, server) = (group.name.clone(), group.server.clone());
        Ok(Self { name, place: line.context.place(), server })
    }

    fn check(&self, groups: &[DaemonProcess], names: &ServerNames) -> Result<(), ConfigError> {
        let Some(first) = groups.iter().find(|group| group.name == self.name) else {
            return Ok(());
        };
        visibility(&first.server, names.of(&self.server)).map_err(|_| {
            let sentence = other_host(&quoted(&self.name), &first.server.defined_at);
            ConfigError::new(format!("WSGIDaemonProcess {sentence} ({})", self.place))
        })
    }
}

/// Two hosts of different names: why that is no other definition of the same group.
fn other_host(name: &str, place: &str) -> String {
    format!(
        "{name} duplicates a previous definition, in a virtual host of another ServerName; {REMEDY}; the first \
         is in the server at {place}"
    )
}

/// Refuses the first of `repeated` that stands in a virtual host with another name than the group's.
pub(crate) fn check_repeated_groups(
    repeated: &[RepeatedGroup],
    groups: &[DaemonProcess],
    names: &ServerNames,
) -> Result<(), ConfigError> {
    repeated.iter().try_for_each(|line| line.check(groups, names))
}

#[cfg(test)]
mod tests {
    use super::super::stub::Configuration;
    use super::*;

    #[test]
    fn a_group_is_repeated_in_hosts_of_one_name_only() {
        for (first, second, remedy) in [
            (Some("a"), Some("a"), None),
            (None, None, None),
            (Some("a"), Some("b"), Some(REMEDY)),
            (Some("a"), None, Some(REMEDY)),
        ] {
            let (mut written, mut named) = (Configuration::default(), Vec::new());
            for (port, name) in [(80, first), (443, second)] {
                written.apache.server = ServerIdentity {
                    name: None,
                    is_virtual: true,
                    port,
                    defined_at: format!("{port}.conf:1"),
                };
                written.read_all(&["WSGIDaemonProcess site threads=3"]);
                named.push((format!("{port}.conf:1"), name));
            }
            let process = &written.process;
            let of_host =
                |(at, name): (String, Option<&str>)| Some((at, name?.as_bytes().to_vec()));
            let names = ServerNames::new(named.into_iter().filter_map(of_host));
            let mut groups = process.daemon_processes.clone();
            names.complete(&mut groups);
            let checked = check_repeated_groups(&process.repeated_groups, &groups, &names);
            let why = checked.err().map(|why| why.to_string());
            assert_eq!(why.is_some(), remedy.is_some(), "{first:?} {second:?}: {why:?}");
            assert!(why.is_none_or(|why| why.contains("80.conf:1") && why.contains(REMEDY)));
            assert_eq!((process.daemon_processes.len(), process.repeated_groups.len()), (1, 1));
        }
    }
}
