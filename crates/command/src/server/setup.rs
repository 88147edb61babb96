//! From options to the files of a server.

use super::folder::ServerRoot;
use super::site::{App, Facts, Purpose, Site};
use super::{checks, render};
use crate::application::{self, Application};
use crate::certificates::{self, Certificates};
use crate::failure::Failure;
use crate::machine::{Account, Apache, ModuleFiles, Python, addresses};
use crate::options::{Interface, ServerOptions};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A server that can be started.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) root: ServerRoot,
    pub(crate) application: Application,
    pub(crate) python: Python,
    pub(crate) working_directory: PathBuf,
    /// Apache writes its process id there when it is about to serve.
    pub(crate) pid_file: PathBuf,
    /// A sentence about what will not work.
    pub(crate) note: Option<String>,
    /// With `--https`: how browsers come to trust its certificate.
    pub(crate) trust: Option<String>,
    /// As in `http://localhost:8000/`.
    pub(crate) urls: Vec<String>,
    /// The URL path of the application.
    mount_point: String,
    /// Named pipes for the logs, which the launcher reads.
    pub(crate) pipes: Option<Pipes>,
    /// The generated script whose touch loads the application anew.
    pub(crate) script: Option<PathBuf>,
    /// The launcher's socket for browsers.
    pub(crate) channel: Option<PathBuf>,
}

impl Setup {
    /// The URL of a path within the application.
    pub(crate) fn url(&self, path: &str) -> String {
        let base = self.urls.first().map_or("", |url| url.trim_end_matches('/'));
        format!("{base}{}{path}", self.mount_point.trim_end_matches('/'))
    }
}

/// The pipes of the logs.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) errors: PathBuf,
    pub(crate) requests: PathBuf,
}

/// The address of a socket has 107 bytes, of which `/wsgi.PID.NUMBER.sock` is a part.
const LONGEST_FOR_SOCKETS: usize = 80;

/// The file for an administrator's own variables.
const ENVVARS: &str = "# Variables of the server and its applications, as in: export NAME=value\n\
    # apachectl reads this file as a shell script; mod_wsgi_rs leaves it alone.\n";

/// Types of files where the system has no table.
const MIME_TYPES: &str = "text/html html htm\ntext/css css\ntext/plain txt\ntext/javascript js mjs\n\
    application/json json\nimage/svg+xml svg\nimage/png png\nimage/jpeg jpeg jpg\nimage/gif gif\n\
    image/webp webp\nimage/x-icon ico\nfont/woff2 woff2\n";

#[derive(Serialize)]
struct Values<'a> {
    site: &'a Site,
    options: &'a ServerOptions,
    app: &'a App,
}

/// Writes the server root.
pub(crate) fn write(options: &ServerOptions, purpose: Purpose) -> Result<Setup, Failure> {
    checks::check(options)?;
    if options.listener.https && purpose == Purpose::Keep {
        return Err(Failure::usage(
            "--https is for start-server; a server that is kept has a certificate of its own and --https-port",
        ));
    }
    let working_directory = working_directory(options)?;
    let mut application = application::find(&options.entry_point, &working_directory)?;
    if application.interface == Interface::Auto && checks::of_wsgi_alone(options).is_some() {
        application.interface = Interface::Wsgi;
    }
    checks::check_interface(options, &application)?;
    let python = Python::find(options.identity.python_home.as_deref(), &working_directory)?;
    let apache = Apache::find(&options.identity.programs)?;
    let module = ModuleFiles::find(&options.identity.programs)?;
    let account =
        Account::find(options.identity.user.as_deref(), options.identity.group.as_deref())?;
    let root = server_root(options, &account)?;
    let mut options = options.clone();
    let trust = match options.listener.https {
        true => Some(use_own_authority(&mut options, &apache, &root)?),
        false => None,
    };
    let options = &options;
    let facts = Facts {
        options,
        purpose,
        apache: &apache,
        module: &module,
        python: &python,
        account: &account,
        application: &application,
        root: &root,
        working_directory: &working_directory,
    };
    let app = App::new(&facts);
    let site = Site::new(&facts, &app)?;
    write_files(&facts, &Values { site: &site, options, app: &app })?;
    let is_development = facts.is_development();
    let pipes = facts
        .uses_pipes()
        .then(|| Pipes { errors: root.join("errors.pipe"), requests: root.join("requests.pipe") });
    let channel = facts.refreshes_browsers().then(|| root.join("channel.sock"));
    Ok(Setup {
        script: is_development.then(|| root.join("application.wsgi")),
        pid_file: site.pid_file(),
        note: note(&account, &working_directory),
        trust,
        urls: site.urls(),
        mount_point: options.entry_point.mount_point.clone(),
        pipes,
        channel,
        application,
        python,
        working_directory,
        root,
    })
}

fn working_directory(options: &ServerOptions) -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().map_err(|why| {
        Failure::server(format!("the current folder: {why}; name one with --working-directory"))
    })?;
    match &options.identity.working_directory {
        Some(path) => path.canonicalize().map_err(|why| {
            Failure::usage(format!("--working-directory {}: {why}", path.display()))
        }),
        None => Ok(here),
    }
}

/// Gives the server a certificate of the user's own authority, and HTTP/2 where Apache has it. Returns how browsers come
/// to trust it.
fn use_own_authority(
    options: &mut ServerOptions,
    apache: &Apache,
    root: &ServerRoot,
) -> Result<String, Failure> {
    // Of which mod_http2 says that it needs another MPM.
    let is_prefork = options.identity.server_mpm.first().is_some_and(|name| name == "prefork");
    let listener = &mut options.listener;
    let host = listener.host.as_deref();
    let mut further: Vec<String> = listener.server_name.iter().cloned().collect();
    further.extend(listener.server_alias.iter().cloned());
    further.extend(addresses::in_network(host).map(|address| address.to_string()));
    let names = certificates::names_of_machine(host, &further);
    let Certificates { certificate, key, note } = certificates::make(root.path(), &names)?;
    listener.ssl_certificate_file = Some(certificate);
    listener.ssl_certificate_key_file = Some(key);
    listener.http2 |= apache.has("http2") && !is_prefork;
    Ok(note)
}

/// What the user of the application cannot reach, which is another one where root starts the server.
fn note(account: &Account, folder: &Path) -> Option<String> {
    let barrier = account.barrier(folder).filter(|_| sys::is_root())?;
    Some(format!(
        "user {} may not enter {}, so that the application in {} cannot be served; name its owner with --user, start \
         the server as that user, or move it, below /srv for example",
        account.user,
        barrier.display(),
        folder.display()
    ))
}

/// Lines that say what is served and by which Python, and how to pin what was found without being named.
pub(crate) fn what_was_chosen(setup: &Setup) -> String {
    let app = &setup.application;
    let name = app.name();
    let mut text = match &app.found_by {
        Some(by) => format!(
            "application: {name}, found by {by}; to pin it, write in pyproject.toml:\n    [tool.mod_wsgi_rs]\n    \
             entry-point = \"{name}\"\n"
        ),
        None => format!("application: {name}\n"),
    };
    if app.interface == Interface::Asgi {
        text.push_str("interface: ASGI\n");
    }
    if let Some(home) = &setup.python.home {
        text.push_str(&format!("Python: {} ({})\n", home.display(), setup.python.reason));
    }
    text
}

fn server_root(options: &ServerOptions, account: &Account) -> Result<ServerRoot, Failure> {
    let is_temporary = options.identity.server_root.is_none();
    let path = match &options.identity.server_root {
        Some(path) => std::path::absolute(path)
            .map_err(|why| Failure::usage(format!("--server-root {}: {why}", path.display())))?,
        None => {
            let host =
                options.listener.host.as_deref().unwrap_or("localhost").replace(['/', ':'], "_");
            let name =
                format!("mod_wsgi_rs-{host}:{}:{}", options.listener.port, sys::effective_uid());
            std::env::temp_dir().join(name)
        }
    };
    let sockets = options.identity.socket_prefix.as_ref().unwrap_or(&path);
    if sockets.as_os_str().len() > LONGEST_FOR_SOCKETS {
        return Err(Failure::usage(format!(
            "{}: the path is too long for sockets; name another folder with --socket-prefix or --server-root",
            sockets.display()
        )));
    }
    ServerRoot::make(path, is_temporary, account.uid != sys::effective_uid())
}

fn write_files(facts: &Facts<'_>, values: &Values<'_>) -> Result<(), Failure> {
    let (root, owner) = (facts.root, (facts.account.uid, facts.account.gid));
    root.folder("htdocs", owner)?;
    root.folder("python-eggs", owner)?;
    if let Some(folder) = &facts.options.logs.log_directory {
        std::fs::create_dir_all(folder).map_err(|why| {
            Failure::server(format!("--log-directory {}: {why}", folder.display()))
        })?;
    }
    if values.app.is_generated {
        let template = if facts.is_development() { "development.wsgi" } else { "application.wsgi" };
        root.write("application.wsgi", &render::render(template, values)?, 0o644)?;
    }
    if facts.options.content.health_url.is_some() {
        root.write("health.txt", "ok\n", 0o644)?;
    }
    if !facts.has_system_mime_types() {
        root.write("mime.types", MIME_TYPES, 0o644)?;
    }
    root.write("httpd.conf", &render::render("httpd.conf", values)?, 0o644)?;
    root.write("apachectl", &render::render("apachectl", values)?, 0o755)?;
    // They may be secrets.
    root.write("variables", &render::render("variables", values)?, 0o600)?;
    if !root.join("envvars").exists() {
        root.write("envvars", ENVVARS, 0o600)?;
    }
    if facts.purpose == Purpose::Keep {
        root.write(values.site.unit_file(), &render::render("unit", values)?, 0o644)?;
    }
    Ok(())
}
