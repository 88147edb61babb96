//! Asks httpd: which modules it loads from where, what it has read, what it says about that. It is only told to test its
//! configuration.

use super::directives;
use super::findings::Report;
use super::server::{Message, Server};
use crate::failure::Failure;
use crate::machine::{Apache, find_program};
use crate::options::Doctor;
use std::path::{Path, PathBuf};
use std::process::Command;

const CHECK: &str = "configuration";

/// The server that the options name: one of setup-server, that of a configuration file, or the system's.
pub(super) fn ask(options: &Doctor, report: &mut Report) -> Result<Server, Failure> {
    let apache = Apache::find(&options.programs)?;
    let (mut command, what) = command(options, &apache)?;
    let info = apache.modules.join("mod_info.so");
    let prints_configuration = info.exists();
    if prints_configuration {
        // It is what prints the configuration, whether or not the server has it.
        command.arg("-C").arg(format!("LoadModule info_module \"{}\"", info.display()));
    } else {
        report.unseen(
            CHECK,
            format!("httpd prints no configuration, because {} is missing", info.display()),
        );
    }
    command.args([
        "-e",
        "debug",
        "-t",
        "-D",
        "DUMP_CONFIG",
        "-D",
        "DUMP_RUN_CFG",
        "-D",
        "DUMP_MODULES",
    ]);
    let done = command.output().map_err(|why| {
        Failure::server(format!("{} cannot be run: {why}", apache.httpd.display()))
    })?;
    let (printed, said) = (
        String::from_utf8_lossy(&done.stdout).into_owned(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    );
    let mut server = read(&printed, &said, done.status.success());
    server.title = format!("Apache {} with {what}", apache.version);
    Ok(server)
}

/// The program that tests the configuration, and what it reads.
fn command(options: &Doctor, apache: &Apache) -> Result<(Command, String), Failure> {
    if let Some(root) = &options.server_root {
        let control = root.join("apachectl");
        if !control.is_file() {
            return Err(Failure::usage(format!(
                "--server-root {}: there is no apachectl of setup-server; name its configuration with --config",
                root.display()
            )));
        }
        let mut command = Command::new(&control);
        command.arg("configtest");
        return Ok((command, root.join("httpd.conf").display().to_string()));
    }
    if let Some(file) = &options.config {
        let path = file
            .canonicalize()
            .map_err(|why| Failure::usage(format!("--config {}: {why}", file.display())))?;
        let mut command = Command::new(&apache.httpd);
        command.arg("-f").arg(&path);
        return Ok((command, path.display().to_string()));
    }
    // Debian's configuration has variables of a file that its control script reads.
    let control =
        apache.httpd.ends_with("apache2").then(|| find_program(Path::new("apache2ctl"))).flatten();
    Ok((
        Command::new(control.unwrap_or_else(|| apache.httpd.clone())),
        "the system's configuration".to_owned(),
    ))
}

/// Reads standard output and standard error of httpd.
pub(super) fn read(printed: &str, said: &str, accepted: bool) -> Server {
    let mut server =
        Server { accepted, directives: directives::parse(printed), ..Server::default() };
    let modules = printed.lines().skip_while(|line| !line.starts_with("Loaded Modules:")).skip(1);
    let name = |line: &str| Some(line.trim().split_once("_module (")?.0.to_owned());
    server.modules = modules.map_while(name).collect();
    let value = |start: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(start))?;
        Some(line.trim().trim_matches('"').to_owned())
    };
    server.root = value("ServerRoot: ").map(PathBuf::from);
    server.pid_file = value("PidFile: ").map(PathBuf::from);
    server.apache_user = id(printed, "User: ");
    server.apache_group = id(printed, "Group: ");
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("AH01575: loaded module ") {
            if let Some((name, file)) = rest.split_once("_module from ") {
                server.files.push((name.to_owned(), PathBuf::from(file)));
            }
        } else if let Some(message) = message(line) {
            server.messages.push(message);
        }
    }
    server
}

/// The number in `User: name="www-data" id=33`, where the server will change to it.
fn id(printed: &str, start: &str) -> Option<u32> {
    let line = printed.lines().find_map(|line| line.strip_prefix(start))?;
    let number = line.split_once(" id=")?.1.split_whitespace().next()?.parse().ok()?;
    (number != u32::MAX).then_some(number)
}

/// What httpd or a module says, without time and process.
fn message(line: &str) -> Option<Message> {
    let line = line.trim();
    // Said of every machine whose name is not in the DNS, and of no consequence.
    if line.is_empty() || line.starts_with("Syntax OK") || line.contains("AH00558") {
        return None;
    }
    if !line.starts_with('[') {
        let is_error = !line.to_ascii_uppercase().contains("WARNING");
        return Some(Message { is_error, text: line.to_owned() });
    }
    let mut parts = line.splitn(4, "] ");
    let (_, level, _, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_error = match level.rsplit_once(':')?.1 {
        "emerg" | "alert" | "crit" | "error" => true,
        "warn" => false,
        _ => return None,
    };
    Some(Message { is_error, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_what_httpd_prints() {
        let printed = "# In file: /h.conf\n#   3:\nTimeout 5\nServerRoot: \"/etc/apache2\"\n\
            PidFile: \"/run/x.pid\"\nUser: name=\"www-data\" id=33\nGroup: name=\"#-1\" id=4294967295\n\
            Loaded Modules:\n core_module (static)\n mpm_event_module (shared)\n";
        let said = "[Mon Nov 30 01:30:11 2026] [so:debug] [pid 1:tid 1] mod_so.c(266): AH01575: loaded module \
            wsgi_module from /a b/mod_wsgi_rs.so\n\
            [Mon Nov 30 01:30:11 2026] [so:warn] [pid 1:tid 1] AH01574: module wsgi_module is already loaded, skipping\n\
            [Mon Nov 30 01:30:11 2026] [wsgi:error] [pid 1:tid 1] python-home is missing\n\
            AH00515: WARNING: MaxRequestWorkers of 400\nAH00558: apache2: Could not\nSyntax OK\n";
        let server = read(printed, said, true);
        assert_eq!(server.modules, ["core", "mpm_event"]);
        assert_eq!(server.files, [("wsgi".to_owned(), PathBuf::from("/a b/mod_wsgi_rs.so"))]);
        assert_eq!((server.apache_user, server.apache_group), (Some(33), None));
        assert_eq!(server.pid_file.as_deref(), Some(Path::new("/run/x.pid")));
        assert_eq!(server.directives.len(), 1);
        let messages: Vec<(bool, &str)> =
            server.messages.iter().map(|it| (it.is_error, it.text.as_str())).collect();
        assert_eq!(
            messages,
            [
                (false, "AH01574: module wsgi_module is already loaded, skipping"),
                (true, "python-home is missing"),
                (false, "AH00515: WARNING: MaxRequestWorkers of 400"),
            ]
        );
    }
}
