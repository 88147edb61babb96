//! SELinux: labels of scripts and Pythons that Apache's domain may not read.

use crate::doctor::findings::Report;
use crate::doctor::groups::{Group, Script};
use crate::doctor::server::Server;
use std::path::Path;

const CHECK: &str = "selinux";
/// There where SELinux is in use; 1 where it enforces.
const ENFORCE: &str = "/sys/fs/selinux/enforce";
/// Types that files get unless they are labelled for a web server, and which `httpd_t` may not read.
const FOREIGN: [&str; 8] = [
    "user_home_t",
    "user_home_dir_t",
    "admin_home_t",
    "default_t",
    "tmp_t",
    "user_tmp_t",
    "var_t",
    "unlabeled_t",
];

pub(super) fn check(server: &Server, report: &mut Report) {
    if !Path::new(ENFORCE).exists() {
        return;
    }
    let scripts = Script::all(server).into_iter().map(|script| script.path);
    let groups = Group::all(server).into_iter();
    let paths = scripts
        .chain(groups.flat_map(|group| group.python_home.into_iter().chain(group.python_path)));
    for path in paths {
        let mut label = [0; 256];
        match rustix::fs::getxattr(&path, "security.selinux", &mut label) {
            Ok(length) => {
                let label = String::from_utf8_lossy(&label[..length]);
                if let Some(sentence) = judge(&path, label.trim_end_matches('\0')) {
                    report.warn(CHECK, sentence);
                }
            }
            Err(_) => report.unseen(CHECK, format!("the label of {}", path.display())),
        }
    }
}

/// What is to be done about a file with this label, as in `system_u:object_r:user_home_t:s0`.
fn judge(path: &Path, label: &str) -> Option<String> {
    let kind = label.split(':').nth(2)?;
    FOREIGN.contains(&kind).then(|| {
        let folder = path.extension().and_then(|_| path.parent()).unwrap_or(path).display();
        format!(
            "{} has the SELinux type {kind}, which Apache may not read; semanage fcontext -a -t httpd_sys_content_t \
             '{folder}(/.*)?' and then restorecon -R {folder}",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_of_a_home_directory_is_told_and_that_of_a_site_is_not() {
        let path = Path::new("/home/a/site/app.wsgi");
        let said = judge(path, "unconfined_u:object_r:user_home_t:s0").unwrap();
        assert!(
            said.contains("user_home_t") && said.ends_with("restorecon -R /home/a/site"),
            "{said}"
        );
        assert_eq!(judge(path, "system_u:object_r:httpd_sys_content_t:s0"), None);
        assert_eq!(judge(path, "broken"), None);
    }
}
