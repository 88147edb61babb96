//! What is known of a server: facts, and nothing that judges them.

use super::directives::Directive;
use std::fs;
use std::path::{Path, PathBuf};

/// A line that httpd or a module has written about its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) is_error: bool,
    pub(super) text: String,
}

/// A server as it is configured.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// As in `Apache 2.4.57 with the system's configuration`.
    pub(super) title: String,
    /// httpd takes the configuration.
    pub(super) accepted: bool,
    /// Modules, as in `mpm_event`.
    pub(super) modules: Vec<String>,
    /// Modules with the files that they are loaded from.
    pub(super) files: Vec<(String, PathBuf)>,
    pub(super) directives: Vec<Directive>,
    pub(super) messages: Vec<Message>,
    /// `ServerRoot`.
    pub(super) root: Option<PathBuf>,
    pub(super) pid_file: Option<PathBuf>,
    /// `User` and `Group`; `None` where the server stays the user that starts it.
    pub(super) apache_user: Option<u32>,
    pub(super) apache_group: Option<u32>,
}

impl Server {
    pub(super) fn has(&self, module: &str) -> bool {
        self.modules.iter().any(|name| name == module)
    }

    /// The file that the module of WSGI is loaded from.
    pub(super) fn wsgi_module(&self) -> Option<&Path> {
        let found = self.files.iter().find(|(name, _)| name == "wsgi");
        found.map(|(_, file)| file.as_path())
    }

    /// All directives of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives.iter().filter(move |directive| directive.is(name))
    }

    /// The number of the main server's last directive of this name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.all(name).last()?.argument(0)?.parse().ok()
    }

    /// A path below `ServerRoot` if it is relative.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.root.clone().unwrap_or_default().join(written)
    }

    /// The process of Apache's parent, where one runs by this configuration.
    pub(super) fn running(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.pid_file.as_ref()?).ok()?.trim().parse().ok()?;
        // A pid file may be older than the process that has its number now.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        ["apache2", "httpd"].contains(&name.trim()).then_some(pid)
    }

    /// How many files each process of the running Apache may have open.
    pub(super) fn open_files(&self) -> Option<u64> {
        let parent = self.running()?;
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        let pids = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
        // The parent may have raised its own.
        pids.chain([parent]).filter_map(open_files).min()
    }

    /// Whether httpd has already said something about it.
    pub(super) fn is_mentioned(&self, text: &str) -> bool {
        self.messages.iter().any(|message| message.text.contains(text))
    }

    /// A server with this configuration, for tests.
    #[cfg(test)]
    pub(super) fn of(configuration: &str, modules: &[&str]) -> Self {
        let dump = format!("# In file: /h.conf\n#   1:\n{configuration}\n");
        let modules = modules.iter().map(|&name| name.to_owned()).collect();
        let directives = super::directives::parse(&dump);
        Self {
            accepted: true,
            modules,
            directives,
            root: Some("/etc/apache2".into()),
            ..Self::default()
        }
    }
}

/// The soft limit of a process, from proc_pid_limits(5).
fn open_files(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}
