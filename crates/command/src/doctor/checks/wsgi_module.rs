//! Whether this module is loaded, once, and no other that runs Python beside it.

use crate::doctor::findings::Report;
use crate::doctor::server::Server;
use std::path::Path;

const CHECK: &str = "wsgi-module";
/// What a file of this module has in it, before its version.
pub(super) const MARK: &[u8] = b"mod_wsgi_rs/";

pub(super) fn check(server: &Server, report: &mut Report) {
    let Some(file) = server.wsgi_module() else {
        if server.accepted && !server.has("wsgi") {
            report.error(
                CHECK,
                "no LoadModule line loads the module; mod_wsgi_rs module-config prints it, and on Debian a2enmod \
                 wsgi_rs switches it on",
            );
        }
        return;
    };
    if is_other(file) {
        report.error(
            CHECK,
            format!(
                "wsgi_module is loaded from {}, which is not mod_wsgi_rs; load the file that mod_wsgi_rs \
                 module-location prints in its place (on Debian: a2dismod wsgi, then a2enmod wsgi_rs)",
                file.display()
            ),
        );
    }
    if server.is_mentioned("AH01574: module wsgi_module") {
        report.warn(
            CHECK,
            format!(
                "two LoadModule lines load a wsgi_module, and only the first, {}, has an effect; remove the one that \
                 is not wanted",
                file.display()
            ),
        );
    }
    if server.has("python") {
        report.warn(
            CHECK,
            "mod_python is loaded, too, and two modules cannot start Python in one process; remove its LoadModule line",
        );
    }
}

/// Whether the file can be read and is another module.
fn is_other(file: &Path) -> bool {
    std::fs::read(file).is_ok_and(|bytes| !bytes.windows(MARK.len()).any(|part| part == MARK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::server::Message;

    #[test]
    fn module_that_is_missing_another_or_there_twice_is_told() {
        let sentence = |server: &Server| {
            let mut report = Report::default();
            check(server, &mut report);
            report.sentences().join("; ")
        };
        assert!(sentence(&Server::of("", &["mpm_event"])).starts_with("no LoadModule line"));
        let file = std::env::temp_dir().join(format!("doctor-module-{}", std::process::id()));
        std::fs::write(&file, "mod_wsgi/5.0").unwrap();
        let mut server = Server::of("", &["wsgi"]);
        server.files.push(("wsgi".to_owned(), file.clone()));
        let other = sentence(&server);
        std::fs::write(&file, "x mod_wsgi_rs/0.1.0").unwrap();
        let right = sentence(&server);
        std::fs::remove_file(&file).unwrap();
        let text = "AH01574: module wsgi_module is already loaded, skipping".to_owned();
        server.messages.push(Message { is_error: false, text });
        server.modules.push("python".to_owned());
        let twice = sentence(&server);
        assert!(other.contains("which is not mod_wsgi_rs"), "{other}");
        assert_eq!(right, "");
        assert!(
            twice.starts_with("two LoadModule lines") && twice.contains("mod_python"),
            "{twice}"
        );
    }
}
