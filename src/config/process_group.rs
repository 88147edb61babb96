//! Which daemon process group may serve which virtual host. It never knows a running process.

use super::error::quoted;
use super::suggestion::did_you_mean;
use super::{ConfigError, DaemonProcess, Line, ServerIdentity};

/// Why a server cannot reach a group that is defined in a virtual host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hidden {
    /// The two servers have different names.
    NotAccessible,
    /// One of the two has no `ServerName`.
    NotMatchable,
}

/// A group of the main server serves every virtual host; a group of a virtual host serves every server of
/// that name.
pub(crate) fn visibility(group: &ServerIdentity, from: Option<&[u8]>) -> Result<(), Hidden> {
    if !group.is_virtual {
        return Ok(());
    }
    match (group.name.as_deref(), from) {
        (Some(group), Some(from)) if group != from => Err(Hidden::NotAccessible),
        (Some(_), None) | (None, Some(_)) => Err(Hidden::NotMatchable),
        _ => Ok(()),
    }
}

/// The group `name` for the server the line stands in, or the sentence that says why there is none.
pub(super) fn reachable<'g>(
    line: &Line<'_>,
    groups: &'g [DaemonProcess],
    name: &[u8],
) -> Result<&'g DaemonProcess, ConfigError> {
    let shown = quoted(name);
    let Some(group) = groups.iter().find(|group| *group.name == *name) else {
        return Err(line.error(format_args!(
            "names the process group {shown}, which is not yet configured{}: a \
             WSGIDaemonProcess line must come first",
            did_you_mean(name, groups.iter().map(|group| &group.name))
        )));
    };
    let defined_at = &group.server.defined_at;
    let here = line.context.server();
    // Its ServerName may stand between the two lines, or come later.
    if here.is_virtual && here.defined_at == *defined_at {
        return Ok(group);
    }
    visibility(&group.server, here.name.as_deref()).map_err(|hidden| match hidden {
        Hidden::NotAccessible => line.error(format_args!(
            "names the process group {shown}, which is not accessible: the virtual host at \
             {defined_at} that defines it has another ServerName"
        )),
        Hidden::NotMatchable => line.error(format_args!(
            "names the process group {shown}, which is not matchable: either this server or the \
             virtual host at {defined_at} that defines it has no ServerName"
        )),
    })?;
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_hosts_group_is_for_servers_of_its_name() {
        let server = |name: Option<&str>, is_virtual| ServerIdentity {
            name: name.map(|name| name.as_bytes().to_vec()),
            is_virtual,
            ..ServerIdentity::default()
        };
        let table = [
            (server(None, false), server(Some("a"), true), Ok(())),
            (server(Some("x"), false), server(Some("a"), true), Ok(())),
            (server(Some("a"), true), server(Some("a"), true), Ok(())),
            (server(Some("a"), true), server(Some("a"), false), Ok(())),
            (server(None, true), server(None, true), Ok(())),
            (server(Some("a"), true), server(Some("b"), true), Err(Hidden::NotAccessible)),
            (server(Some("a"), true), server(None, true), Err(Hidden::NotMatchable)),
            (server(None, true), server(Some("b"), false), Err(Hidden::NotMatchable)),
        ];
        for (group, from, expected) in table {
            assert_eq!(
                visibility(&group, from.name.as_deref()),
                expected,
                "{group:?} from {from:?}"
            );
        }
    }
}
