//! The command line.
#![forbid(unsafe_code)]

use crate::listen_address::{BadAddress, ListenAddress};
use crate::socket_activation;
use group_config::{
    AddressBlock, Application, BadBlock, FrontEnd, GroupConfig, Invalid, Processes, Timers,
};
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Invocation {
    Help,
    Version,
    /// Manage the group whose configuration is in this descriptor.
    Inherited(RawFd),
    /// Be the process whose start parameters are in this descriptor, for a manager.
    WorkerStart(RawFd),
    Standalone(Box<Standalone>),
    /// Have the daemon with this admin socket drain, and wait for it.
    Drain {
        admin: PathBuf,
        limit: Option<Duration>,
    },
}

/// A daemon without Apache.
#[derive(Debug)]
pub(crate) struct Standalone {
    pub(crate) listen: Vec<ListenAddress>,
    /// Where questions about its health are answered.
    pub(crate) admin: Vec<ListenAddress>,
    /// Listening sockets that have been passed to the program.
    pub(crate) inherited: Range<RawFd>,
    pub(crate) socket_mode: u32,
    pub(crate) config: GroupConfig,
}

/// What is wrong with a command line.
#[derive(Debug)]
pub(crate) enum ArgumentError {
    /// There is no such option.
    Unknown(OsString),
    /// The option needs a value.
    NoValue(&'static str),
    /// The option needs another value; `wanted` says which.
    BadValue { option: &'static str, wanted: &'static str, value: OsString },
    /// The value of the option names no file that can be used.
    BadPath { option: &'static str, wanted: &'static str, value: OsString, why: io::Error },
    /// The option is missing.
    Missing(&'static str),
    /// Other machines can connect to this address, and nothing says which of them may.
    Unrestricted(SocketAddr),
    /// Sockets to listen on are both named and passed to the program.
    TwoKindsOfSockets,
    /// The variable has another value than it can have; `wanted` says which.
    BadVariable { variable: &'static str, wanted: &'static str, value: OsString },
    /// The options contradict each other; a sentence that says how.
    Config(Invalid),
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "there is no option {}", option.display()),
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::BadValue { option, wanted, value } => {
                write!(f, "{option} needs {wanted}, not '{}'", value.display())
            }
            Self::BadPath { option, wanted, value, why } => {
                write!(f, "{option} needs {wanted}, not '{}': {why}", value.display())
            }
            Self::Missing(option) => write!(f, "{option} is missing"),
            Self::Unrestricted(address) => write!(
                f,
                "--allow is missing: other machines can connect to {address}, and what can connect is served as if it \
                 were the web server"
            ),
            Self::TwoKindsOfSockets => f.write_str(
                "--listen cannot be combined with sockets that are passed to the program (LISTEN_FDS)",
            ),
            Self::BadVariable { variable, wanted, value } => {
                write!(f, "{variable} needs {wanted}, not '{}'", value.display())
            }
            Self::Config(why) => why.fmt(f),
        }
    }
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// When there is no daemon that could run with them.
pub(crate) fn parse(
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<Invocation, ArgumentError> {
    let mut parser = Parser::new();
    while let Some(argument) = arguments.next() {
        // Both `--name value` and `--name=value`.
        let (name, attached) = split(&argument);
        match name.as_bytes() {
            b"--help" | b"-h" => return Ok(Invocation::Help),
            b"--version" | b"-V" => return Ok(Invocation::Version),
            _ => {}
        }
        let Some((option, set)) = OPTIONS.iter().find(|(option, _)| name == *option) else {
            return Err(ArgumentError::Unknown(argument));
        };
        let value = attached.map(OsStr::to_owned).or_else(|| arguments.next());
        let value = value.ok_or(ArgumentError::NoValue(option))?;
        set(&mut parser, &Value { option, value })?;
    }
    parser.finish()
}

fn split(argument: &OsStr) -> (&OsStr, Option<&OsStr>) {
    let bytes = argument.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let (name, value) = bytes.split_at(at);
            (OsStr::from_bytes(name), Some(OsStr::from_bytes(value.get(1..).unwrap_or_default())))
        }
        None => (argument, None),
    }
}

/// The options so far.
struct Parser {
    config: GroupConfig,
    listen: Vec<ListenAddress>,
    admin: Vec<ListenAddress>,
    drain: Option<PathBuf>,
    drain_timeout: Option<Duration>,
    script: Option<PathBuf>,
    callable: String,
    socket_mode: u32,
    group: Option<u32>,
    config_fd: Option<RawFd>,
    worker_fd: Option<RawFd>,
}

type Setter = fn(&mut Parser, &Value) -> Result<(), ArgumentError>;

/// Every option that has a value, and what it sets.
const OPTIONS: [(&str, Setter); 28] = [
    ("--config-fd", |it, value| value.number().map(|fd| it.config_fd = Some(fd))),
    ("--worker-fd", |it, value| value.number().map(|fd| it.worker_fd = Some(fd))),
    ("--listen", |it, value| value.address().map(|address| it.listen.push(address))),
    ("--admin", |it, value| value.address().map(|address| it.admin.push(address))),
    ("--drain", |it, value| match value.address()? {
        ListenAddress::Unix(path) => {
            it.drain = Some(path);
            Ok(())
        }
        ListenAddress::Tcp(_) => Err(value.bad("unix:PATH")),
    }),
    ("--drain-timeout", |it, value| value.seconds().map(|time| it.drain_timeout = Some(time))),
    ("--drain-delay", |it, value| {
        value.seconds().map(|time| it.config.front_ends.drain_delay = time)
    }),
    ("--probes", |it, value| {
        it.config.front_ends.answers_probes = match value.text()? {
            "on" => true,
            "off" => false,
            _ => return Err(value.bad("on or off")),
        };
        Ok(())
    }),
    ("--allow", |it, value| {
        let block = value.block()?;
        it.config.front_ends.allow.get_or_insert_default().push(block);
        Ok(())
    }),
    ("--secret-file", |it, value| value.secret().map(|text| it.config.secret = Some(text))),
    ("--front", |it, value| value.front_end().map(|kind| it.config.front_ends.kind = kind)),
    ("--script-name", |it, value| {
        value.mount().map(|path| it.config.front_ends.script_name = Some(path))
    }),
    ("--application", |it, value| value.file().map(|path| it.script = Some(path))),
    ("--callable", |it, value| value.text().map(|name| it.callable = name.to_owned())),
    ("--processes", |it, value| {
        let count = value.number()?;
        it.config.processes = Processes { least: count, most: count, given: true };
        Ok(())
    }),
    ("--threads", |it, value| value.number().map(|count| it.config.threads = count)),
    ("--python-home", |it, value| {
        it.config.python.home = Some(value.path());
        Ok(())
    }),
    ("--python-path", |it, value| {
        it.config.python.path.push(value.path());
        Ok(())
    }),
    ("--user", |it, value| {
        let (uid, gid) = value.user()?;
        it.config.identity.uid = Some(uid);
        it.config.identity.gid = it.config.identity.gid.or(gid);
        Ok(())
    }),
    ("--group", |it, value| value.group().map(|gid| it.group = Some(gid))),
    ("--home", |it, value| {
        it.config.identity.home = Some(value.path());
        Ok(())
    }),
    ("--umask", |it, value| value.octal().map(|mask| it.config.identity.umask = Some(mask))),
    ("--socket-mode", |it, value| value.octal().map(|mode| it.socket_mode = mode)),
    ("--maximum-requests", |it, value| {
        value.number().map(|count| it.config.timers.maximum_requests = Some(count))
    }),
    ("--request-timeout", |it, value| {
        value.seconds().map(|limit| it.config.timers.request_timeout = Some(limit))
    }),
    ("--graceful-timeout", |it, value| {
        value.seconds().map(|limit| it.config.timers.graceful_timeout = limit)
    }),
    ("--shutdown-timeout", |it, value| {
        value.seconds().map(|limit| it.config.timers.shutdown_timeout = Some(limit))
    }),
    ("--log-level", |it, value| value.number().map(|level| it.config.log_level = level)),
];

impl Parser {
    fn new() -> Self {
        // Other web servers than Apache do not say how long they wait.
        let socket_timeout = Some(Duration::from_secs(60));
        let timers = Timers { socket_timeout, ..Timers::default() };
        Self {
            config: GroupConfig { log_level: 5, sole: true, timers, ..GroupConfig::default() },
            listen: Vec::new(),
            admin: Vec::new(),
            drain: None,
            drain_timeout: None,
            script: None,
            callable: "application".to_owned(),
            socket_mode: 0o600,
            group: None,
            config_fd: None,
            worker_fd: None,
        }
    }

    fn finish(self) -> Result<Invocation, ArgumentError> {
        if let Some(number) = self.worker_fd {
            return Ok(Invocation::WorkerStart(number));
        }
        if let Some(number) = self.config_fd {
            return Ok(Invocation::Inherited(number));
        }
        if let Some(admin) = self.drain {
            return Ok(Invocation::Drain { admin, limit: self.drain_timeout });
        }
        let Self { mut config, callable, socket_mode, .. } = self;
        let listen = self.listen;
        let script = self.script.ok_or(ArgumentError::Missing("--application"))?;
        config.identity.gid = self.group.or(config.identity.gid);
        let name = listen.iter().find_map(|address| match address {
            ListenAddress::Unix(path) => path.file_stem(),
            ListenAddress::Tcp(_) => None,
        });
        let name = name.or(script.file_stem()).unwrap_or_default();
        config.name = name.to_string_lossy().into_owned();
        config.application = Some(Application { script, callable });
        // Only so that the check finds a socket: it is made later.
        config.descriptors.shared_socket = Some(3);
        config.check().map_err(ArgumentError::Config)?;
        Ok(Invocation::Standalone(Box::new(Standalone {
            listen,
            admin: self.admin,
            inherited: 0..0,
            socket_mode,
            config,
        })))
    }
}

impl Standalone {
    /// The same with what the environment says: sockets that are passed to this process, which has the number `process`,
    /// and the addresses of web servers. `variable` gives the values of variables.
    ///
    /// # Errors
    /// When there is no socket, or one that is open to other machines without a restriction.
    pub(crate) fn in_environment(
        mut self,
        variable: impl Fn(&str) -> Option<OsString>,
        process: u32,
    ) -> Result<Self, ArgumentError> {
        self.inherited = socket_activation::descriptors(&variable, process).map_err(|value| {
            let wanted = "a number of sockets";
            ArgumentError::BadVariable { variable: "LISTEN_FDS", wanted, value }
        })?;
        match (self.listen.is_empty(), self.inherited.is_empty()) {
            (true, true) => return Err(ArgumentError::Missing("--listen")),
            (false, false) => return Err(ArgumentError::TwoKindsOfSockets),
            (_, is_own) => self.config.front_ends.sockets_are_inherited = !is_own,
        }
        const ADDRESSES: &str = "FCGI_WEB_SERVER_ADDRS";
        if let Some(value) = variable(ADDRESSES).filter(|value| !value.is_empty()) {
            let addresses =
                value.to_str().and_then(|it| group_config::web_server_addresses(it).ok());
            let wanted = "addresses separated by commas";
            let bad =
                ArgumentError::BadVariable { variable: ADDRESSES, wanted, value: value.clone() };
            self.config.front_ends.web_servers = Some(addresses.ok_or(bad)?);
        }
        let addresses = self.listen.iter().chain(&self.admin);
        addresses.filter_map(ListenAddress::tcp).try_for_each(|it| self.check_open(it))?;
        Ok(self)
    }

    /// Checks that something says which machines may connect to this address, where others than this one can.
    ///
    /// # Errors
    /// When nothing does.
    pub(crate) fn check_open(&self, address: SocketAddr) -> Result<(), ArgumentError> {
        if address.ip().to_canonical().is_loopback() || self.config.front_ends.is_restricted() {
            return Ok(());
        }
        Err(ArgumentError::Unrestricted(address))
    }
}

/// The value of an option.
struct Value {
    option: &'static str,
    value: OsString,
}

impl Value {
    fn bad(&self, wanted: &'static str) -> ArgumentError {
        ArgumentError::BadValue { option: self.option, wanted, value: self.value.clone() }
    }

    fn bad_path(&self, wanted: &'static str, why: io::Error) -> ArgumentError {
        ArgumentError::BadPath { option: self.option, wanted, value: self.value.clone(), why }
    }

    /// Seconds, perhaps with a fraction.
    fn seconds(&self) -> Result<Duration, ArgumentError> {
        let time = Duration::try_from_secs_f64(self.number()?);
        time.map_err(|_| self.bad("a number of seconds"))
    }

    fn text(&self) -> Result<&str, ArgumentError> {
        self.value.to_str().ok_or_else(|| self.bad("text"))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(&self.value)
    }

    fn number<N: std::str::FromStr>(&self) -> Result<N, ArgumentError> {
        self.text()?.parse().map_err(|_| self.bad("a number"))
    }

    fn octal(&self) -> Result<u32, ArgumentError> {
        let mode = u32::from_str_radix(self.text()?, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| self.bad("an octal number up to 777"))
    }

    fn file(&self) -> Result<PathBuf, ArgumentError> {
        self.path().canonicalize().map_err(|why| self.bad_path("a file", why))
    }

    fn address(&self) -> Result<ListenAddress, ArgumentError> {
        ListenAddress::parse(&self.value).map_err(|why| match why {
            BadAddress::Syntax => self.bad(ListenAddress::SYNTAX),
            BadAddress::Path(why) => self.bad_path("a path", why),
        })
    }

    fn block(&self) -> Result<AddressBlock, ArgumentError> {
        self.text()?.parse().map_err(|why: BadBlock| self.bad(why.wanted()))
    }

    fn front_end(&self) -> Result<FrontEnd, ArgumentError> {
        Ok(match self.text()? {
            "auto" => FrontEnd::Auto,
            "apache" => FrontEnd::Apache,
            "nginx" => FrontEnd::Nginx,
            "haproxy" => FrontEnd::Haproxy,
            "caddy" => FrontEnd::Caddy,
            _ => return Err(self.bad("auto, apache, nginx, haproxy or caddy")),
        })
    }

    /// A mount point, without the slash at its end.
    fn mount(&self) -> Result<String, ArgumentError> {
        let path = self.text()?;
        if !path.starts_with('/') {
            return Err(self.bad("a path that begins with a slash"));
        }
        Ok(path.trim_end_matches('/').to_owned())
    }

    /// The whole text of a file, without the end of its last line. The file is read here, as the user who starts the
    /// program.
    fn secret(&self) -> Result<String, ArgumentError> {
        let text =
            std::fs::read_to_string(self.path()).map_err(|why| self.bad_path("a file", why))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(self.bad("a file with a text"));
        }
        Ok(text.to_owned())
    }

    /// The user, and the primary group of that user where the system knows it.
    fn user(&self) -> Result<(u32, Option<u32>), ArgumentError> {
        let text = self.text()?;
        if let Some(number) = text.strip_prefix('#') {
            let uid = number.parse().map_err(|_| self.bad("a user"))?;
            return Ok((uid, sys::user_by_id(uid).map(|user| user.gid)));
        }
        let user = CString::new(text).ok().and_then(|name| sys::user_by_name(&name));
        user.map(|user| (user.uid, Some(user.gid))).ok_or_else(|| self.bad("a user of this system"))
    }

    fn group(&self) -> Result<u32, ArgumentError> {
        let text = self.text()?;
        if let Some(number) = text.strip_prefix('#') {
            return number.parse().map_err(|_| self.bad("a group"));
        }
        let gid = CString::new(text).ok().and_then(|name| sys::group_id_by_name(&name));
        gid.ok_or_else(|| self.bad("a group of this system"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        parse(line.split(' ').map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_option_and_what_it_needs() {
        for (line, sentence) in [
            ("--threads 3", "--application is missing"),
            ("--listen unix:/tmp/x", "--application is missing"),
            ("--listen /tmp/x", "--listen needs unix:PATH or tcp:ADDRESS:PORT, not '/tmp/x'"),
            (
                "--allow 10.0.0.1/8",
                "--allow needs a block whose address has no bits beyond those of the block, not '10.0.0.1/8'",
            ),
            (
                "--front lighttpd",
                "--front needs auto, apache, nginx, haproxy or caddy, not 'lighttpd'",
            ),
            (
                "--script-name blog",
                "--script-name needs a path that begins with a slash, not 'blog'",
            ),
            ("--secret-file /dev/null", "--secret-file needs a file with a text, not '/dev/null'"),
            ("--thread 3", "there is no option --thread"),
            ("--thread", "there is no option --thread"),
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
        let no_file = refusal("--application /no/such/file");
        assert!(no_file.starts_with("--application needs a file, not '/no/such/file': No such"));
    }

    #[test]
    fn a_value_may_follow_or_be_attached() {
        let line = "--listen=unix:/run/site.sock --application /dev/null --processes=2";
        let Ok(Invocation::Standalone(standalone)) = parse(line.split(' ').map(OsString::from))
        else {
            panic!("not understood");
        };
        let config = &standalone.config;
        assert_eq!((config.processes.most, config.name.as_str()), (2, "site"));
    }

    /// What becomes of a command line in an environment.
    fn started(line: &str, environment: &[(&str, &str)]) -> Result<Standalone, String> {
        let line = format!("--application /dev/null {line}");
        let Ok(Invocation::Standalone(it)) = parse(line.split_whitespace().map(OsString::from))
        else {
            panic!("not understood");
        };
        let variable = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        it.in_environment(variable, 7).map_err(|why| why.to_string())
    }

    #[test]
    fn socket_that_is_open_to_other_machines_needs_a_restriction() {
        let open = "--allow is missing: other machines can connect to 0.0.0.0:9000, and what can connect is served as \
                    if it were the web server";
        let refused = started("--listen tcp:127.0.0.1:9000 --listen tcp:0.0.0.0:9000", &[]);
        assert_eq!(refused.unwrap_err(), open);
        for (line, environment) in [
            ("--listen tcp:127.0.0.1:9000 --listen tcp:[::1]:9000", &[][..]),
            ("--listen tcp:[::ffff:127.0.0.1]:9000", &[]),
            ("--listen tcp:0.0.0.0:9000 --allow 10.0.0.0/8", &[]),
            ("--listen tcp:0.0.0.0:9000", &[("FCGI_WEB_SERVER_ADDRS", "10.0.0.1")]),
        ] {
            assert!(started(line, environment).is_ok(), "{line}");
        }
        // An empty value is none.
        let environment = [("FCGI_WEB_SERVER_ADDRS", "")];
        assert!(started("--listen tcp:0.0.0.0:9000", &environment).is_err());
        assert_eq!(
            started("--listen unix:/tmp/x", &[("FCGI_WEB_SERVER_ADDRS", "here")]).unwrap_err(),
            "FCGI_WEB_SERVER_ADDRS needs addresses separated by commas, not 'here'"
        );
    }

    #[test]
    fn sockets_are_either_named_or_passed() {
        let passed = [("LISTEN_PID", "7"), ("LISTEN_FDS", "2")];
        let it = started("", &passed).unwrap();
        assert_eq!((it.inherited, it.config.name.as_str()), (3..5, "null"));
        assert!(it.config.front_ends.sockets_are_inherited);
        assert_eq!(started("", &[]).unwrap_err(), "--listen is missing");
        assert_eq!(
            started("", &[("LISTEN_PID", "8"), passed[1]]).unwrap_err(),
            "--listen is missing"
        );
        let both = started("--listen unix:/tmp/x", &passed).unwrap_err();
        assert_eq!(
            both,
            "--listen cannot be combined with sockets that are passed to the program (LISTEN_FDS)"
        );
        assert!(
            !started("--listen unix:/tmp/x", &[]).unwrap().config.front_ends.sockets_are_inherited
        );
    }

    #[test]
    fn descriptors_come_before_all_other_options() {
        let parse = |line: &str| parse(line.split(' ').map(OsString::from)).unwrap();
        assert!(matches!(parse("--config-fd 4"), Invocation::Inherited(4)));
        assert!(matches!(parse("--worker-fd 5 --threads 3"), Invocation::WorkerStart(5)));
    }
}
