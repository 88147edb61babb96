//! Which interface the lines of the configuration mean: that of an alias, of a process group, and whether the two agree.
//! It never knows a request.

use group_config::Interface;

use super::error::quoted;
use super::{Bytes, ConfigError, DaemonProcess, Line};

/// An alias that leads to a process group which is named in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceReference {
    group: Bytes,
    interface: Interface,
    directive: &'static str,
    /// `file:line`
    place: String,
}

impl InterfaceReference {
    /// What the line's alias says of `group`; `None` where that depends on the request, or is embedded mode.
    pub(super) fn of(line: &Line<'_>, group: Option<&[u8]>, interface: Interface) -> Option<Self> {
        let group = group.filter(|name| !name.is_empty() && !name.starts_with(b"%{"))?;
        let (directive, place) = (line.name(), line.context.place());
        Some(Self { group: group.into(), interface, directive, place })
    }

    fn check(&self, groups: &[DaemonProcess]) -> Result<(), ConfigError> {
        let Self { group: name, interface, directive, place } = self;
        let group = groups.iter().find(|group| group.name == *name);
        match group.map(|group| group.config.interface) {
            Some(other) if other != *interface => Err(ConfigError::new(format!(
                "{directive} leads a {} application to the process group {}, whose interface is {}; each \
                 process group serves one of the two ({place})",
                interface.name(),
                quoted(name),
                other.name(),
            ))),
            _ => Ok(()),
        }
    }
}

/// Makes those of `groups` ASGI's to which an alias of ASGI leads, and whose line does not say.
pub(super) fn apply(references: &[InterfaceReference], groups: &mut [DaemonProcess]) {
    for group in groups.iter_mut().filter(|group| !group.interface_given) {
        let mut own = references.iter().filter(|it| it.group == group.name);
        if own.any(|it| it.interface == Interface::Asgi) {
            group.config.interface = Interface::Asgi;
        }
    }
}

/// What the line of a group says that an event loop does not do.
fn unsupported(group: &DaemonProcess) -> Option<&'static str> {
    match () {
        () if !group.config.is_asgi() => None,
        () if group.forwarding.warm_up.is_some() => Some("warm-up"),
        () if group.config.timers.is_interrupting() => Some("interrupt-timeout"),
        () => None,
    }
}

/// Refuses the first alias that leads to a group of the other interface, and the first group with an option that is for
/// the other one.
pub(crate) fn check_interfaces(
    references: &[InterfaceReference],
    groups: &[DaemonProcess],
) -> Result<(), ConfigError> {
    references.iter().try_for_each(|reference| reference.check(groups))?;
    groups.iter().try_for_each(|group| match unsupported(group) {
        None => Ok(()),
        Some(option) => Err(ConfigError::new(format!(
            "WSGIDaemonProcess {}: {option}= is not for applications of ASGI",
            quoted(&group.name)
        ))),
    })
}

#[cfg(test)]
mod tests {
    use super::super::ProcessOptions;
    use super::super::stub::configuration;
    use super::*;

    /// The interface of the first group, or the sentence that refuses the lines.
    fn interface(lines: &[&str]) -> Result<Interface, String> {
        let process = configuration(lines).process;
        let groups = ProcessOptions::resolve(&process).daemon_processes;
        check_interfaces(&process.interface_references, &groups)
            .map_err(|error| error.to_string())?;
        Ok(groups[0].config.interface)
    }

    #[test]
    fn a_group_has_the_interface_of_its_line_or_of_the_aliases_that_lead_to_it() {
        let wsgi = "WSGIScriptAlias /w /srv/w.py process-group=site";
        let asgi = "ASGIScriptAlias /a /srv/a.py process-group=site";
        let written = "WSGIScriptAliasMatch ^/a /srv/a.py interface=asgi process-group=site";
        let elsewhere = "ASGIScriptAlias /a /srv/a.py process-group=%{ENV:GROUP}";
        let group = "WSGIDaemonProcess site";
        assert_eq!(interface(&[group]), Ok(Interface::Wsgi));
        assert_eq!(interface(&[group, wsgi, elsewhere]), Ok(Interface::Wsgi));
        // Also where the alias comes first.
        assert_eq!(interface(&[asgi, group]), Ok(Interface::Asgi));
        assert_eq!(interface(&[group, written]), Ok(Interface::Asgi));
        let line = "WSGIDaemonProcess site interface=asgi";
        assert_eq!(interface(&[line, asgi]), Ok(Interface::Asgi));
        assert_eq!(interface(&[line]), Ok(Interface::Asgi));
    }

    #[test]
    fn a_group_serves_one_interface() {
        let wsgi = "WSGIScriptAlias /w /srv/w.py process-group=site";
        let asgi = "ASGIScriptAlias /a /srv/a.py process-group=site";
        let sentence = |directive, alias, group| {
            Err(format!(
                "{directive} leads a {alias} application to the process group \"site\", whose interface is \
                 {group}; each process group serves one of the two (stub.conf:1)"
            ))
        };
        let of_wsgi = sentence("WSGIScriptAlias", "WSGI", "ASGI");
        assert_eq!(interface(&["WSGIDaemonProcess site", wsgi, asgi]), of_wsgi);
        assert_eq!(interface(&["WSGIDaemonProcess site interface=asgi", wsgi]), of_wsgi);
        assert_eq!(
            interface(&["WSGIDaemonProcess site interface=wsgi", asgi]),
            sentence("ASGIScriptAlias", "ASGI", "WSGI")
        );
    }
}
