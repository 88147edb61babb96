//! Versions that do not fit together: of the command, of the module that is configured, and of the one that runs.

use super::wsgi_module::MARK;
use crate::doctor::findings::Report;
use crate::doctor::server::Server;
use std::io::ErrorKind;
use std::path::Path;

const CHECK: &str = "versions";

pub(super) fn check(server: &Server, report: &mut Report) {
    let own = env!("CARGO_PKG_VERSION");
    if let Some(file) = server.wsgi_module()
        && let Some(found) = version(file).filter(|found| found != own)
    {
        report.warn(
            CHECK,
            format!(
                "{} is version {found}, and this command is {own}; install both from one package or build",
                file.display()
            ),
        );
    }
    let Some(pid) = server.running() else { return };
    match std::fs::read_to_string(format!("/proc/{pid}/maps")) {
        Ok(maps) => {
            if let Some(sentence) = replaced(&maps) {
                report.warn(CHECK, sentence);
            }
        }
        Err(why) if why.kind() == ErrorKind::NotFound => {}
        Err(_) => report.unseen(CHECK, format!("which module process {pid} of Apache has loaded")),
    }
}

/// What follows the mark in the module's file. Names of folders have the mark, too.
fn version(file: &Path) -> Option<String> {
    let bytes = std::fs::read(file).ok()?;
    let marks = bytes.windows(MARK.len()).enumerate().filter(|(_, part)| *part == MARK);
    marks.map(|(at, _)| &bytes[at + MARK.len()..]).find_map(|rest| {
        let text = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
        let text: String = text.map(|byte| char::from(*byte)).collect();
        (text.split('.').filter(|number| !number.is_empty()).count() == 3).then_some(text)
    })
}

/// Whether the files that a process has loaded have been replaced since.
fn replaced(maps: &str) -> Option<String> {
    let gone = maps.lines().find(|line| {
        line.ends_with("(deleted)")
            && (line.contains("mod_wsgi") || line.contains("/apache2") || line.contains("/httpd"))
    })?;
    let file = gone.split_once('/').map(|(_, path)| path.trim_end_matches(" (deleted)"))?;
    Some(format!(
        "/{file} has been replaced since Apache was started, and a restart keeps what is loaded; stop Apache and \
         start it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_and_a_replaced_file_are_told() {
        let file = std::env::temp_dir().join(format!("doctor-version-{}", std::process::id()));
        std::fs::write(&file, b"/usr/lib/mod_wsgi_rs/x\0mod_wsgi_rs/0.0.9none").unwrap();
        let mut server = Server::of("", &["wsgi"]);
        server.files.push(("wsgi".to_owned(), file.clone()));
        let mut report = Report::default();
        check(&server, &mut report);
        std::fs::remove_file(&file).unwrap();
        assert!(report.sentences()[0].contains("is version 0.0.9"), "{:?}", report.sentences());
        let maps = "7f0 r-xp 0 08:01 7  /usr/lib/apache2/modules/mod_wsgi_rs.so (deleted)\n";
        let said = replaced(maps).unwrap();
        assert!(
            said.starts_with("/usr/lib/apache2/modules/mod_wsgi_rs.so has been replaced"),
            "{said}"
        );
        assert_eq!(replaced(&maps.replace(" (deleted)", "")), None);
    }
}
