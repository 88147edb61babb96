//! Whether a request is for this module, and for which application (mod_wsgi's reference, sections 1.5, 2.2 and 2.3)
#![forbid(unsafe_code)]

use crate::application::Application;
use crate::apr::{Pool, Table};
use crate::child::Child;
use crate::config::{
    self, DirectoryConfig, Dispatched, HandlerScript, NotDispatched, RequestLines, ScriptAlias,
    Settings,
};
use crate::failure_flag::{Flag, Flags, Note};
use crate::file_version::version;
use crate::forward::Group;
use crate::httpd::{ContentHandler, FileKind, Outcome, RedirectedLog, Request, TranslateName};
use crate::module_config::{alias_of, directory_config, remember_alias, server_config};
use crate::request_names::RequestNames;
use crate::request_outcome::{APPLICATION_TIME, FLAGS_VARIABLE, QUEUE_TIME, conclude};
use crate::request_times::RequestTimes;
use crate::status;
use group_config::Interface;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use wsgi::Level;

/// This module's hooks on a request.
pub(crate) struct Wsgi;

/// The names under which administrators set this module's handler.
const HANDLERS: [&[u8]; 3] = [b"wsgi-script", b"application/x-httpd-wsgi", ASGI_HANDLER];
/// That of them for applications of ASGI.
const ASGI_HANDLER: &[u8] = b"asgi-script";
/// The handlers that tell of the server itself.
pub(crate) const STATUS_HANDLER: &CStr = c"wsgi-status";
const HEALTH_HANDLER: &[u8] = b"wsgi-health";
/// The variables that this handler sets for logs, beside that of the flags.
pub(crate) const TIME_VARIABLES: [&CStr; 2] = [QUEUE_TIME, APPLICATION_TIME];

impl RedirectedLog for Wsgi {
    /// What the request of the application has got goes to the page of its `ErrorDocument`, which httpd logs.
    fn before_log<'call>(pool: Pool<'call>, environments: &[Table<'call>]) {
        let Some(last) = environments.last() else { return };
        for name in [FLAGS_VARIABLE, QUEUE_TIME, APPLICATION_TIME] {
            let found = environments.iter().rev().find_map(|environment| environment.get(name));
            if let Some(value) = found {
                last.set(pool, name, value);
            }
        }
    }
}

impl TranslateName for Wsgi {
    fn translate(request: &mut Request<'_>) -> Outcome {
        let Some(config) = server_config(request.server()) else { return Outcome::Declined };
        let Some((alias, mapped)) = config.script_alias(request.uri()) else {
            return Outcome::Declined;
        };
        request.set_file(&mapped.target, mapped.rest);
        request.set_handler(ScriptAlias::handler(alias.interface));
        remember_alias(request, alias);
        Outcome::Done
    }
}

impl ContentHandler for Wsgi {
    fn handle(request: &mut Request<'_>) -> Outcome {
        let Some(handler) = request.handler() else { return Outcome::Declined };
        static UNSET: LazyLock<DirectoryConfig> = LazyLock::new(DirectoryConfig::default);
        let config = directory_config(request).unwrap_or(&UNSET);
        let script = config.handler_script(handler);
        if script.is_none() && !HANDLERS.contains(&handler) {
            return match handler {
                _ if handler == STATUS_HANDLER.to_bytes() => {
                    let lines = config.status_request_lines.unwrap_or(RequestLines::Path);
                    status::answer(request, lines)
                }
                HEALTH_HANDLER => status::answer_health(request),
                _ => Outcome::Declined,
            };
        }
        observed(request, |request, counted| Self::serve(request, handler, config, script, counted))
    }
}

impl Wsgi {
    /// Serves a request that is for this module.
    fn serve(
        request: &mut Request<'_>,
        handler: &[u8],
        config: &DirectoryConfig,
        script: Option<&HandlerScript>,
        counted: &Cell<Option<&'static Group>>,
    ) -> Outcome {
        let alias = alias_of(request);
        let settings = Settings::resolve(config);
        let (settings, checked) = match (script, alias) {
            (Some(script), _) => (settings.served_by(script), check_path_info(request)),
            (None, Some(alias)) => (settings.with_alias(alias), check(request, true)),
            (None, None) if handler == ASGI_HANDLER => {
                (settings.of_interface(Interface::Asgi), check(request, false))
            }
            (None, None) => (settings, check(request, false)),
        };
        if let Err(refusal) = checked {
            return refusal.answer(request);
        }
        // The page that tells of a refusal is not refused for the same reason.
        if !request.has_given_up_body()
            && let Err(refusal) = check_body(request, &settings)
        {
            request.give_up_body();
            return refusal.flagged(Flag::Request).answer(request);
        }
        let Some(child) = Child::get() else {
            return Refusal::new(500, "WSGI0210", "this process has not been initialised")
                .flagged(Flag::StartFailed)
                .answer(request);
        };
        dispatch(request, &settings, alias.is_some(), child, counted)
    }
}

/// Serves a request, counts it, and tells by `WSGI_FLAGS` in its environment what has gone wrong. `serve` sets the group
/// that it has sent the request to.
fn observed(
    request: &mut Request<'_>,
    serve: impl FnOnce(&mut Request<'_>, &Cell<Option<&'static Group>>) -> Outcome,
) -> Outcome {
    // A response may be that of another request of this server (a local redirect), served meanwhile.
    let (outer, outer_times, group) = (Flags::begin(), RequestTimes::begin(), Cell::new(None));
    let outcome = serve(request, &group);
    let (flags, times) = (Flags::end(outer), RequestTimes::end(outer_times));
    // A response that goes on elsewhere is counted at its end.
    if outcome != Outcome::Suspended {
        conclude(request, outcome, group.get().map(Group::plan), flags, times);
    }
    outcome
}

/// Chooses the application and serves the request.
fn dispatch(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    aliased: bool,
    child: &'static Child,
    counted: &Cell<Option<&'static Group>>,
) -> Outcome {
    let Ok(chosen) = dispatched(request, settings) else {
        Flag::Exception.note();
        return Outcome::Status(500);
    };
    let settings = &settings.dispatched(&chosen);
    let Destination { process_group, application_group, callable } =
        destination(request, settings, child);
    if !settings.allows_process_group(&process_group) {
        let group = String::from_utf8_lossy(&process_group).into_owned();
        let what = format!("daemon process '{group}' may not be used here (WSGIRestrictProcess)");
        return Refusal::new(500, "WSGI0149", what).answer(request);
    }
    let (script, modified) = match settings.handler_script {
        Some(script) => (&*script.path, version(&script.path)),
        None => (request.filename().unwrap_or_default(), Some(request.file_version())),
    };
    let adopted = aliased && child.sole && settings.handler_script.is_none();
    let application = Application { script, modified, application_group, callable, adopted };
    let outcome = if process_group.is_empty() && settings.interface != Interface::Wsgi {
        let what = "applications of ASGI are served by a WSGIDaemonProcess (process-group=), not in Apache's \
                    own processes; so are those of interface=auto";
        Refusal::new(500, "WSGI0223", what).answer(request)
    } else if process_group.is_empty() {
        serve_embedded(request, settings, &application, child)
    } else {
        match daemon_group(request, script, &process_group, settings, child) {
            Ok(group) => {
                counted.set(Some(group));
                crate::forward::serve(request, settings, &application, group)
            }
            Err(refusal) => refusal.answer(request),
        }
    };
    if request.status() == 401 && !settings.pass_authorization {
        note_authorization(request);
    }
    outcome
}

/// Says once in each process that an application asks for what it has been sent and does not get.
fn note_authorization(request: &Request<'_>) {
    static NOTED: AtomicBool = AtomicBool::new(false);
    let is_sent = request.headers_in().get(c"Authorization").is_some();
    // Apache itself has authenticated the other ones.
    if is_sent && request.user().is_none() && !NOTED.swap(true, Ordering::Relaxed) {
        let line = "Hint: the application answered 401 to a request whose Authorization header it did not \
                    get; WSGIPassAuthorization On passes it on.";
        request.log(Level::Warning, line.as_bytes());
    }
}

/// Where a request is served, without any more `%{…}`.
struct Destination<'a> {
    process_group: Cow<'a, [u8]>,
    application_group: Cow<'a, [u8]>,
    callable: Cow<'a, [u8]>,
}

fn destination<'a>(
    request: &Request<'_>,
    settings: &Settings<'a>,
    child: &Child,
) -> Destination<'a> {
    let names = OnceCell::new();
    let expanded = |value: &'a [u8], expand: fn(&[u8], &RequestNames<'_, '_>) -> Vec<u8>| {
        // Names that depend on nothing are most of them.
        if !value.starts_with(b"%") {
            return Cow::Borrowed(value);
        }
        let names = names.get_or_init(|| RequestNames::of(request, child.options.case_sensitive));
        Cow::Owned(expand(value, names))
    };
    Destination {
        process_group: expanded(settings.process_group, |value, names| {
            config::process_group(value, names).into_owned()
        }),
        application_group: expanded(settings.application_group, |value, names| {
            config::application_group(value, names).into_owned()
        }),
        callable: expanded(settings.callable_object, |value, names| {
            config::callable_object(value, names).into_owned()
        }),
    }
}

/// What the dispatch script has chosen, if there is one.
#[cfg(feature = "embedded")]
fn dispatched(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
) -> Result<Dispatched, NotDispatched> {
    match settings.dispatch_script {
        Some(script) => crate::access::dispatch(request, settings, script),
        None => Ok(Dispatched::default()),
    }
}

#[cfg(not(feature = "embedded"))]
fn dispatched(_: &mut Request<'_>, _: &Settings<'_>) -> Result<Dispatched, NotDispatched> {
    // A dispatch script is refused when the configuration is read.
    Ok(Dispatched::default())
}

/// The daemon process group of this name, if this request may be served by it.
fn daemon_group(
    request: &Request<'_>,
    script: &[u8],
    name: &[u8],
    settings: &Settings<'_>,
    child: &'static Child,
) -> Result<&'static Group, Refusal> {
    let shown = || String::from_utf8_lossy(name);
    let Some(group) = child.groups.iter().find(|group| *group.definition().name == *name) else {
        if child.options.daemon_processes.iter().any(|group| *group.name == *name) {
            let what = format!(
                "WSGI daemon process '{}' could not be set up when Apache restarted; the main server's log tells why",
                shown()
            );
            return Err(Refusal::new(503, "WSGI0117", what));
        }
        let names = child.groups.iter().map(|group| &*group.definition().name);
        let what = format!(
            "no WSGI daemon process called '{}' has been configured{}",
            shown(),
            config::did_you_mean(name, names)
        );
        return Err(Refusal::new(500, "WSGI0151", what));
    };
    if config::visibility(group.server(), request.server().name()).is_err() {
        let what = format!("WSGI daemon process '{}' belongs to another virtual host", shown());
        return Err(Refusal::new(500, "WSGI0152", what));
    }
    if group.definition().config.threads == 0 {
        let what = format!(
            "WSGI daemon process '{}' runs service scripts and serves no requests",
            shown()
        );
        return Err(Refusal::new(503, "WSGI0153", what));
    }
    check_interface(group, settings)?;
    if !group.definition().sees(script) {
        let what =
            format!("the script lies outside of the chroot of WSGI daemon process '{}'", shown());
        return Err(Refusal::new(500, "WSGI0081", what));
    }
    check_owner(script, group)?;
    Ok(group)
}

/// Whether the application of a request has the interface of its group, as far as the configuration says.
fn check_interface(group: &Group, settings: &Settings<'_>) -> Result<(), Refusal> {
    let name = group.name();
    let what = match (settings.interface, group.definition().config.interface) {
        (own, other) if own == other || own == Interface::Auto => return Ok(()),
        (own, Interface::Auto) => format!(
            "WSGI daemon process '{name}' has interface=auto, and this is an application of {}; a script alias with \
             interface=auto leads to it",
            own.name()
        ),
        (own, other) => format!(
            "WSGI daemon process '{name}' serves applications of {} (interface=), and this is one of {}",
            other.name(),
            own.name()
        ),
    };
    Err(Refusal::new(500, "WSGI0224", what))
}

/// `script-user` and `script-group`: a script that another account could have written is not run.
fn check_owner(script: &[u8], group: &Group) -> Result<(), Refusal> {
    let definition = group.definition();
    if definition.forwarding.script_user.is_none() && definition.forwarding.script_group.is_none() {
        return Ok(());
    }
    let script = Path::new(OsStr::from_bytes(script));
    for path in std::iter::once(script).chain(script.parent()) {
        let refuse = |what: &str| {
            let what = format!("'{}' {what}", path.display());
            Err(Refusal::new(403, "WSGI0162", what))
        };
        let Ok(found) = path.metadata() else { return refuse("cannot be looked at") };
        if found.mode() & 0o002 != 0 {
            return refuse("can be written by any user");
        }
        if let Some(user) = &definition.forwarding.script_user {
            if found.uid() != user.id {
                return refuse("does not belong to the user of script-user");
            }
            if found.mode() & 0o020 != 0 {
                return refuse("can be written by its group");
            }
        }
        if let Some(group) = &definition.forwarding.script_group
            && found.gid() != group.id
        {
            return refuse("does not belong to the group of script-group");
        }
    }
    Ok(())
}

#[cfg(feature = "embedded")]
fn serve_embedded(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    application: &Application<'_>,
    child: &Child,
) -> Outcome {
    if child.options.restrict_embedded {
        let what = "embedded mode is switched off (WSGIRestrictEmbedded)";
        return Refusal::new(500, "WSGI0143", what).answer(request);
    }
    // Before Python is waited for.
    let _running = child.begin(request, true);
    match child.host() {
        Some(host) => crate::embedded::serve(request, settings, application, child, host),
        None => Refusal::new(500, "WSGI0210", "Python could not be started in this process")
            .flagged(Flag::StartFailed)
            .answer(request),
    }
}

#[cfg(not(feature = "embedded"))]
fn serve_embedded(
    request: &mut Request<'_>,
    _settings: &Settings<'_>,
    _application: &Application<'_>,
    _child: &Child,
) -> Outcome {
    Refusal::new(500, "WSGI0142", "this build of the module has no embedded mode").answer(request)
}

/// Why a request is refused: status and log line.
struct Refusal {
    status: u16,
    flag: Flag,
    code: &'static str,
    what: Cow<'static, str>,
}

impl Refusal {
    fn new(status: u16, code: &'static str, what: impl Into<Cow<'static, str>>) -> Self {
        Self { status, flag: Flag::Configuration, code, what: what.into() }
    }

    /// The same with another flag.
    fn flagged(self, flag: Flag) -> Self {
        Self { flag, ..self }
    }

    /// Logs it and gives the status to httpd, which answers with its error page.
    fn answer(&self, request: &Request<'_>) -> Outcome {
        let script = String::from_utf8_lossy(request.filename().unwrap_or_default());
        let Self { code, what, flag, .. } = self;
        flag.note();
        let line = format!("{code}: [script {script}] {what}: {script} [{}]", flag.code());
        request.log(Level::Error, line.as_bytes());
        Outcome::Status(self.status)
    }
}

/// Whether there is a script, and whether it may be run.
fn check(request: &Request<'_>, aliased: bool) -> Result<(), Refusal> {
    if !aliased && !request.may_execute() {
        let what = "Options ExecCGI is off in this directory";
        return Err(Refusal::new(403, "WSGI0134", what));
    }
    match request.file_kind() {
        FileKind::Missing => {
            return Err(Refusal::new(
                404,
                "WSGI0135",
                "Target WSGI script not found or unable to stat",
            ));
        }
        FileKind::Directory => {
            return Err(Refusal::new(
                403,
                "WSGI0136",
                "Attempt to invoke directory as WSGI application",
            ));
        }
        FileKind::Special => {
            return Err(Refusal::new(
                403,
                "WSGI0136",
                "Attempt to invoke a file that is not a regular one as WSGI application",
            ));
        }
        FileKind::Regular => {}
    }
    check_path_info(request)
}

/// Whether a path behind the file is allowed.
fn check_path_info(request: &Request<'_>) -> Result<(), Refusal> {
    if request.rejects_path_info() && request.path_info().is_some_and(|path| !path.is_empty()) {
        return Err(Refusal::new(404, "WSGI0137", "AcceptPathInfo off disallows user's path")
            .flagged(Flag::Request));
    }
    Ok(())
}

/// Whether the request body can be read.
fn check_body(request: &Request<'_>, settings: &Settings<'_>) -> Result<(), Refusal> {
    let headers = request.headers_in();
    if let Some(coding) = headers.get(c"Transfer-Encoding") {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            let coding = String::from_utf8_lossy(coding).into_owned();
            let what = format!("Unexpected value for Transfer-Encoding of '{coding}' supplied");
            return Err(Refusal::new(501, "WSGI0138", what));
        }
        if !settings.chunked_request {
            return Err(Refusal::new(
                411,
                "WSGI0139",
                "Chunked request body is not allowed (WSGIChunkedRequest)",
            ));
        }
    }
    let Some(length) = headers.get(c"Content-Length") else { return Ok(()) };
    let number =
        std::str::from_utf8(length).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|text| text.parse::<u64>().ok()) {
        None => {
            let length = String::from_utf8_lossy(length).into_owned();
            Err(Refusal::new(
                400,
                "WSGI0141",
                format!("Invalid Content-Length header value of '{length}' was supplied"),
            ))
        }
        Some(length) if request.body_limit() > 0 && length > request.body_limit() => {
            let limit = request.body_limit();
            let what = format!(
                "a request body of {length} bytes exceeds LimitRequestBody, which is {limit}"
            );
            Err(Refusal::new(413, "WSGI0140", what))
        }
        Some(_) => Ok(()),
    }
}
