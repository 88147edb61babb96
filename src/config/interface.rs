//! Which interface the lines of the configuration mean: that of an alias, of a process group, and whether the two agree.
//! It never knows a request.

use group_config::Interface;

use super::error::quoted;
use super::{Bytes, ConfigError, DaemonProcess, ImportScript, Line};

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
        let Some(other) = group.map(|group| group.config.interface) else { return Ok(()) };
        if other == *interface || *interface == Interface::Auto {
            return Ok(());
        }
        let remedy = match other {
            Interface::Auto => "all of its script aliases need interface=auto",
            Interface::Wsgi | Interface::Asgi => "each process group serves one of the two",
        };
        Err(ConfigError::new(format!(
            "{directive} leads a {} application to the process group {}, whose interface is {}; {remedy} ({place})",
            interface.name(),
            quoted(name),
            other.name(),
        )))
    }
}

/// Gives those of `groups` whose line does not say the interface of the aliases that lead to them: ASGI before one that
/// is not known, and that before WSGI.
pub(super) fn apply(references: &[InterfaceReference], groups: &mut [DaemonProcess]) {
    for group in groups.iter_mut().filter(|group| !group.interface_given) {
        let leads = |interface| {
            references.iter().any(|it| it.group == group.name && it.interface == interface)
        };
        let found = [Interface::Asgi, Interface::Auto].into_iter().find(|it| leads(*it));
        group.config.interface = found.unwrap_or_default();
    }
}

/// What the line of a group says that an event loop does not do.
fn unsupported(group: &DaemonProcess) -> Option<&'static str> {
    match () {
        () if group.config.interface == Interface::Wsgi || group.config.is_service() => None,
        () if group.forwarding.warm_up.is_some() => Some("warm-up"),
        () => None,
    }
}

/// Refuses the first alias that leads to a group of the other interface, the first group with an option that is for
/// the other one, and the first whose interface no application decides. `scripts` are those that processes load when
/// they start.
pub(crate) fn check_interfaces(
    references: &[InterfaceReference],
    groups: &[DaemonProcess],
    scripts: &[ImportScript],
) -> Result<(), ConfigError> {
    references.iter().try_for_each(|reference| reference.check(groups))?;
    groups.iter().try_for_each(|group| {
        if let Some(option) = unsupported(group) {
            return Err(ConfigError::new(format!(
                "WSGIDaemonProcess {}: {option}= is not for applications of ASGI, nor for interface=auto",
                quoted(&group.name)
            )));
        }
        let mut deciding = scripts.iter().filter(|it| it.callable.is_some());
        if group.config.interface != Interface::Auto
            || group.config.is_service()
            || deciding.any(|it| it.process_group == group.name)
        {
            return Ok(());
        }
        Err(ConfigError::new(format!(
            "WSGIDaemonProcess {}: interface=auto needs a script alias with interface=auto that names one script and \
             this process group in full: its application decides when a process has loaded it",
            quoted(&group.name)
        )))
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
        check_interfaces(&process.interface_references, &groups, &process.import_scripts)
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
    fn a_group_has_the_interface_of_its_application_where_a_line_says_so() {
        let auto = "WSGIScriptAlias /x /srv/x.py interface=auto process-group=site";
        let of_asgi = "ASGIScriptAlias /y /srv/y.py interface=auto process-group=site";
        let folder = "WSGIScriptAlias /x /srv/x/ interface=auto process-group=site";
        let asgi = "ASGIScriptAlias /a /srv/a.py process-group=site";
        let wsgi = "WSGIScriptAlias /w /srv/w.py process-group=site";
        let group = "WSGIDaemonProcess site";
        let line = "WSGIDaemonProcess site interface=auto";
        for lines in [&[group, auto][..], &[of_asgi, group], &[line, auto, folder]] {
            assert_eq!(interface(lines), Ok(Interface::Auto), "{lines:?}");
        }
        // What another line says is known.
        assert_eq!(interface(&[group, auto, asgi]), Ok(Interface::Asgi));
        assert_eq!(
            interface(&["WSGIDaemonProcess site interface=wsgi", auto]),
            Ok(Interface::Wsgi)
        );
        assert_eq!(
            interface(&["WSGIDaemonProcess site threads=0 interface=auto"]),
            Ok(Interface::Auto)
        );
        for (lines, sentence) in [
            (
                &[line, wsgi, auto][..],
                "whose interface is auto; all of its script aliases need interface=auto",
            ),
            (
                &[line, asgi, auto],
                "whose interface is auto; all of its script aliases need interface=auto",
            ),
            (&[line], "interface=auto needs a script alias"),
            (&[line, folder], "interface=auto needs a script alias"),
            (&["WSGIDaemonProcess site warm-up=/ interface=auto", auto], "warm-up= is not for"),
        ] {
            let refusal = interface(lines).unwrap_err();
            assert!(refusal.contains(sentence), "{lines:?}: {refusal}");
        }
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
