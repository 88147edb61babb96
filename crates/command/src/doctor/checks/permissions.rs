//! Whether the users get to the files: Apache's user and the group's to a script, the group's user to its Python and to
//! its modules.

use crate::doctor::findings::Report;
use crate::doctor::groups::{Group, Script, Who};
use crate::doctor::server::Server;
use crate::doctor::way::Way;
use std::path::Path;

const CHECK: &str = "permissions";

pub(super) fn check(server: &Server, report: &mut Report) {
    let apache = Who::of_apache(server);
    for script in Script::all(server) {
        let what = format!("the script {} ({})", script.path.display(), script.place);
        let mut users = vec![script.group.who, apache];
        users.dedup();
        for who in users {
            tell(Way::to(&script.path, who), who, &what, report);
        }
    }
    for group in Group::all(server) {
        let folders = [
            ("Python home", group.python_home.as_slice()),
            ("working directory", group.home.as_slice()),
            ("module path", group.python_path.as_slice()),
        ];
        for (kind, folder) in
            folders.iter().flat_map(|(kind, list)| list.iter().map(move |it| (kind, it)))
        {
            // httpd has said what is wrong with it.
            if !server.is_mentioned(&folder.display().to_string()) {
                let what = format!("the {kind} of {}, {}", group.title(), folder.display());
                tell(Way::to(folder, group.who), group.who, &what, report);
            }
        }
    }
}

fn tell(way: Way, who: Who, what: &str, report: &mut Report) {
    let user = sys::user_name(who.uid);
    match way {
        Way::Open => {}
        Way::Closed(at) => {
            report.error(CHECK, format!("user {user} cannot get to {what}: {}", remedy(&at)));
        }
        Way::Missing(at) => {
            report.error(CHECK, format!("{what} does not exist: there is no {}", at.display()));
        }
        Way::Unseen(at) => report.unseen(
            CHECK,
            format!(
                "whether user {user} gets to {what}: this user may not look into {}",
                at.display()
            ),
        ),
    }
}

fn remedy(at: &Path) -> String {
    match at.is_dir() {
        true => format!(
            "{0} may not be entered; chmod o+x {0}, or give it that user's group",
            at.display()
        ),
        false => format!(
            "{0} may not be read; chmod o+r {0}, or give it that user's group",
            at.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folder_that_the_user_may_not_enter_is_told_with_a_remedy() {
        let root = std::env::temp_dir().join(format!("doctor-permissions-{}", std::process::id()));
        std::fs::create_dir_all(root.join("closed")).unwrap();
        std::fs::write(root.join("closed/app.wsgi"), "").unwrap();
        let mode = |name: &str, mode| {
            std::fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        mode("", 0o755);
        mode("closed", 0o700);
        let root_ = root.display();
        let server = Server::of(
            &format!(
                "WSGIDaemonProcess a user=#4000000 group=#4000000 python-path={root_}/gone\nWSGIProcessGroup a\n\
                 WSGIScriptAlias / {root_}/closed/app.wsgi"
            ),
            &[],
        );
        let mut report = Report::default();
        check(&server, &mut report);
        let said = report.sentences().join("\n");
        std::fs::remove_dir_all(&root).unwrap();
        let folder = root.join("closed");
        assert!(
            said.contains(&format!("{0} may not be entered; chmod o+x {0}", folder.display())),
            "{said}"
        );
        assert!(said.contains("user uid 4000000 cannot get to the script"), "{said}");
        assert!(said.contains("the module path of process group a"), "{said}");
    }
}
