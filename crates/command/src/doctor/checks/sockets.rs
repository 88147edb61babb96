//! The folder of the sockets between Apache and its process groups.

use crate::doctor::findings::Report;
use crate::doctor::groups::Who;
use crate::doctor::server::Server;
use crate::doctor::way::Way;

const CHECK: &str = "sockets";
/// The address of a socket has 107 bytes, of which `.PID.NUMBER.sock` is a part.
const LONGEST: usize = 80;

pub(super) fn check(server: &Server, report: &mut Report) {
    if server.all("WSGIDaemonProcess").next().is_none() {
        return;
    }
    let written = server.all("WSGISocketPrefix").last().and_then(|line| line.argument(0));
    let usual = server.all("DefaultRuntimeDir").last().and_then(|line| line.argument(0));
    let prefix = match (written, usual) {
        (Some(prefix), _) => server.path(prefix),
        (None, Some(folder)) => server.path(folder).join("wsgi"),
        (None, None) => return report.unseen(CHECK, "where sockets are: no line names a folder"),
    };
    if prefix.as_os_str().len() > LONGEST {
        report.error(
            CHECK,
            format!(
                "{} is too long for the names of sockets; name a shorter path with WSGISocketPrefix",
                prefix.display()
            ),
        );
    }
    let Some(folder) = prefix.parent() else { return };
    let who = Who::of_apache(server);
    let user = sys::user_name(who.uid);
    match Way::to(folder, who) {
        Way::Open => {}
        Way::Closed(at) => report.error(
            CHECK,
            format!(
                "user {user} may not enter {}, so that no request gets to a process group (503); name another folder \
                 with WSGISocketPrefix, as in WSGISocketPrefix /run/wsgi",
                at.display()
            ),
        ),
        Way::Missing(at) => {
            // Debian's is made at the start.
            if !folder.starts_with("/run") && !folder.starts_with("/var/run") {
                let sentence = format!("the folder of the sockets, {}, does not exist", at.display());
                report.error(CHECK, sentence);
            }
        }
        Way::Unseen(at) => {
            report.unseen(CHECK, format!("whether user {user} gets to {}", at.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folder_that_is_closed_missing_or_too_long_is_told() {
        let root = std::env::temp_dir().join(format!("doctor-sockets-{}", std::process::id()));
        std::fs::create_dir_all(root.join("closed")).unwrap();
        for (folder, mode) in [(root.clone(), 0o755), (root.join("closed"), 0o700)] {
            std::fs::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
        }
        let said = |prefix: String| {
            let line = format!("WSGIDaemonProcess a\nWSGISocketPrefix {prefix}");
            let mut server = Server::of(&line, &[]);
            (server.apache_user, server.apache_group) = (Some(4_000_000), Some(4_000_000));
            let mut report = Report::default();
            check(&server, &mut report);
            report.sentences().join("; ")
        };
        let root_ = root.display();
        let closed = said(format!("{root_}/closed/wsgi"));
        let missing = said(format!("{root_}/none/wsgi"));
        let long = said(format!("{root_}/{}", "x".repeat(90)));
        let right = said(format!("{root_}/wsgi"));
        std::fs::remove_dir_all(&root).unwrap();
        assert!(closed.contains("may not enter"), "{closed}");
        assert!(missing.contains("does not exist"), "{missing}");
        assert!(long.contains("too long"), "{long}");
        assert_eq!(right, "");
    }
}
