//! The command line.
#![forbid(unsafe_code)]

use crate::config::{Application, GroupConfig, Processes};
use crate::posix;
use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Hosts a Python WSGI application and serves it over FastCGI.

Usage:
  wsgi-daemon --listen unix:PATH --application FILE [OPTION]…
  wsgi-daemon --config-fd N        (started by Apache)

Options:
  --listen unix:PATH      the socket that nginx, HAProxy, Caddy, Apache … connect to
  --application FILE      the script that holds the application
  --callable NAME         its name in the script [application]
  --processes N           worker processes [1]
  --threads N             threads in each of them [15]
  --python-home DIR       a virtual environment, or where Python is installed
  --python-path DIR       a directory to import from; may be given more than once
  --user NAME             run as this user (NAME or #UID; only root can)
  --group NAME            run with this primary group (NAME or #GID)
  --home DIR              working directory
  --umask MODE            permission bits new files do not get, octal
  --socket-mode MODE      permissions of the socket, octal [600]
  --maximum-requests N    replace a worker after so many requests
  --request-timeout SEC   replace a worker when a request takes longer
  --graceful-timeout SEC  how long a replaced worker may finish its requests [15]
  --shutdown-timeout SEC  how long a stop may take [5]
  --log-level N           0 (emergencies) to 8 (trace) [5]
  --help, --version

Signals: TERM and INT stop it, WINCH stops it when all requests are done, USR1 replaces every worker
by a new one without losing a request.
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Version,
    /// Read a configuration from this descriptor.
    Inherited(RawFd),
    /// Be what this descriptor says, for a manager.
    Seat(RawFd),
    ByHand(Box<ByHand>),
}

/// A daemon without Apache.
#[derive(Debug)]
pub(crate) struct ByHand {
    pub(crate) listen: PathBuf,
    pub(crate) socket_mode: u32,
    pub(crate) config: GroupConfig,
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// A sentence.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut words = arguments;
    let mut config = GroupConfig { log_level: 5, sole: true, ..GroupConfig::default() };
    let (mut listen, mut script, mut callable) = (None, None, "application".to_owned());
    let (mut socket_mode, mut inherited, mut group) = (0o600, None, None);
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            return Err(format!("{} is no option", word.to_string_lossy()));
        };
        // Both `--name value` and `--name=value`.
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text, None),
        };
        match name {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            _ if !NAMES.contains(&name) => return Err(format!("there is no option {text}")),
            _ => {}
        }
        let value = Value {
            name,
            value: attached
                .or_else(|| words.next())
                .ok_or_else(|| format!("{name} needs a value"))?,
        };
        match name {
            "--config-fd" => inherited = Some(value.number()?),
            "--seat-fd" => return Ok(Command::Seat(value.number()?)),
            "--listen" => listen = Some(value.socket()?),
            "--application" => script = Some(value.file()?),
            "--callable" => callable = value.text()?,
            "--processes" => {
                let count = value.number()?;
                config.processes = Processes { least: count, most: count, given: true };
            }
            "--threads" => config.threads = value.number()?,
            "--python-home" => config.python.home = Some(value.path()),
            "--python-path" => config.python.path.push(value.path()),
            "--user" => {
                let (uid, gid) = value.user()?;
                config.identity.uid = Some(uid);
                config.identity.gid = config.identity.gid.or(gid);
            }
            "--group" => group = Some(value.group()?),
            "--home" => config.identity.home = Some(value.path()),
            "--umask" => config.identity.umask = Some(value.octal()?),
            "--socket-mode" => socket_mode = value.octal()?,
            "--maximum-requests" => config.timers.maximum_requests = Some(value.number()?),
            "--request-timeout" => config.timers.request_timeout = Some(value.number()?),
            "--graceful-timeout" => config.timers.graceful_timeout = value.number()?,
            "--shutdown-timeout" => config.timers.shutdown_timeout = Some(value.number()?),
            _ => config.log_level = value.number()?,
        }
    }
    if let Some(number) = inherited {
        return Ok(Command::Inherited(number));
    }
    let listen = listen.ok_or("--listen is missing")?;
    let script = script.ok_or("--application is missing")?;
    config.application = Some(Application { script, callable });
    config.identity.gid = group.or(config.identity.gid);
    config.name = listen.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // Only to satisfy the check: the socket is made later.
    config.descriptors.shared_socket = Some(3);
    config.check()?;
    Ok(Command::ByHand(Box::new(ByHand { listen, socket_mode, config })))
}

const NAMES: [&str; 19] = [
    "--config-fd",
    "--seat-fd",
    "--listen",
    "--application",
    "--callable",
    "--processes",
    "--threads",
    "--python-home",
    "--python-path",
    "--user",
    "--group",
    "--home",
    "--umask",
    "--socket-mode",
    "--maximum-requests",
    "--request-timeout",
    "--graceful-timeout",
    "--shutdown-timeout",
    "--log-level",
];

/// The value of an option.
struct Value<'a> {
    name: &'a str,
    value: OsString,
}

impl Value<'_> {
    fn wrong(&self, wanted: &str) -> String {
        format!("{} needs {wanted}, not '{}'", self.name, self.value.to_string_lossy())
    }

    fn text(&self) -> Result<String, String> {
        self.value.to_str().map(str::to_owned).ok_or_else(|| self.wrong("text"))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(&self.value)
    }

    fn number<N: std::str::FromStr>(&self) -> Result<N, String> {
        self.text()?.parse().map_err(|_| self.wrong("a number"))
    }

    fn octal(&self) -> Result<u32, String> {
        let mode = u32::from_str_radix(&self.text()?, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| self.wrong("an octal number up to 777"))
    }

    fn file(&self) -> Result<PathBuf, String> {
        self.path().canonicalize().map_err(|why| format!("{}: {why}", self.wrong("a file")))
    }

    fn socket(&self) -> Result<PathBuf, String> {
        let path = self.value.as_bytes().strip_prefix(b"unix:").filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| self.wrong("unix:PATH"))?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(path));
        // The directory changes later.
        std::path::absolute(&path).map_err(|why| format!("{}: {why}", self.wrong("a path")))
    }

    fn user(&self) -> Result<(u32, Option<u32>), String> {
        let text = self.text()?;
        if let Some(number) = text.strip_prefix('#') {
            let uid = number.parse().map_err(|_| self.wrong("a user"))?;
            return Ok((uid, posix::user_of(uid).map(|user| user.gid)));
        }
        let name = CString::new(text).ok();
        let user = name.and_then(|name| posix::user_named(&name));
        user.map(|user| (user.uid, Some(user.gid)))
            .ok_or_else(|| self.wrong("a user of this system"))
    }

    fn group(&self) -> Result<u32, String> {
        let text = self.text()?;
        if let Some(number) = text.strip_prefix('#') {
            return number.parse().map_err(|_| self.wrong("a group"));
        }
        let name = CString::new(text).ok();
        name.and_then(|name| posix::group_named(&name))
            .ok_or_else(|| self.wrong("a group of this system"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        parse(line.split(' ').map(OsString::from)).map(|_| String::new()).unwrap_or_else(|why| why)
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        for (line, sentence) in [
            ("--threads 3", "--listen is missing"),
            ("--listen unix:/tmp/x", "--application is missing"),
            ("--listen /tmp/x", "--listen needs unix:PATH, not '/tmp/x'"),
            ("--thread 3", "there is no option --thread"),
            ("--threads many", "--threads needs a number, not 'many'"),
            ("--threads", "--threads needs a value"),
            ("--socket-mode 8", "--socket-mode needs an octal number up to 777, not '8'"),
            (
                "--listen unix:/tmp/x --application /dev/null --user #0",
                "uid: a daemon process may not run as root",
            ),
        ] {
            assert_eq!(refusal(line), sentence);
        }
    }

    #[test]
    fn a_value_may_follow_or_be_attached() {
        let line = "--listen=unix:/run/site.sock --application /dev/null --processes=2";
        let Ok(Command::ByHand(by_hand)) = parse(line.split(' ').map(OsString::from)) else {
            panic!("not understood");
        };
        assert_eq!((by_hand.config.processes.most, by_hand.config.name.as_str()), (2, "site"));
    }
}
