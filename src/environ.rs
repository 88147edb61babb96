//! What an application is told of a request (RFC 3875, PEP 3333, mod_wsgi's reference section 2.4). It
//! only reads the request; whether Python or a daemon process receives the variables, it does not know.
#![forbid(unsafe_code)]

use crate::config::{MapHead, Settings};
use crate::httpd::{PreviousRequest, Request};
use crate::passed_headers::PassedHeaders;
use crate::request_path::split_path;
use crate::trusted_proxy::ProxyTrust;
use std::cell::RefCell;
use std::sync::LazyLock;
use wsgi::{CommonVariables, Environ, Key};
#[cfg(feature = "embedded")]
use wsgi::{HeaderRule, header_rule};

thread_local! {
    /// Its memory, and its reader's memory of it, serve one request after the other.
    static STEADY: RefCell<CommonVariables> = const { RefCell::new(CommonVariables::new()) };
}

/// Hands over every variable of `request`. Later ones replace earlier ones of the same name, so what
/// `SetEnv` and other modules set comes before what httpd itself knows.
pub(crate) fn fill(request: &mut Request<'_>, settings: &Settings<'_>, environ: &mut dyn Environ) {
    let proxy = proxy(request, settings);
    let headers = PassedHeaders::of(request, settings, proxy.as_ref());
    let paths = split_path(request.uri(), request.path_info());
    // A filter may send a request of its own from inside of a request; it has to make do without.
    let mut steady = STEADY.take();
    steady.clear();
    set_common_variables(request, settings, &proxy, &paths.0, &mut steady);
    environ.common(&steady);
    request.subprocess_env().each(|name, value| {
        let known = Key::from_name(name).is_some_and(|key| steady.has(key));
        if !known && !headers.replace(name) {
            environ.other(name, value);
        }
    });
    STEADY.set(steady);
    headers.hand_over(environ);
    client(request, environ);
    let mut redirected_user = None;
    if let Some(previous) = request.previous() {
        redirection(request, previous, environ);
        redirected_user = previous.user();
    }
    match (request.user(), redirected_user) {
        (Some(user), _) => environ.set(Key::RemoteUser, user),
        (None, Some(user)) => environ.set(Key::RedirectRemoteUser, user),
        (None, None) => {}
    }
    if let Some(kind) = request.auth_type() {
        environ.set(Key::AuthType, kind);
    }
    environ.set(Key::RequestMethod, method(request, settings.map_head_to_get));
    environ.set(Key::QueryString, request.query().unwrap_or_default());
    let current = request.tells_current_uri();
    environ.set(Key::RequestUri, if current { request.uri() } else { request.target() });
    environ.set(Key::PathInfo, &paths.1);
    environ.set(Key::RawPathInfo, &paths.1);
    set_log_variables(request, environ);
    if let Some(proxy) = &proxy {
        apply_trusted_headers(proxy, environ);
    }
}

/// Hands over what a script for access control is told: the request as it came, without anything that
/// another module or a proxy says about it (mod_wsgi's reference, section 5.1).
#[cfg(feature = "embedded")]
pub(crate) fn fill_for_access(request: &Request<'_>, environ: &mut dyn Environ) {
    request.headers_in().each(|name, value| match header_rule(name) {
        HeaderRule::Http => environ.header(name, value),
        HeaderRule::ContentType => environ.set(Key::ContentType, value),
        HeaderRule::ContentLength => environ.set(Key::ContentLength, value),
        HeaderRule::Host => environ.set(Key::HttpHost, value),
        HeaderRule::Authorization
        | HeaderRule::ProxyAuthorization
        | HeaderRule::Proxy
        | HeaderRule::Ambiguous => {}
    });
    let mut number = [0; 20];
    environ.other(b"SERVER_SIGNATURE", request.server_signature());
    environ.set(Key::ServerSoftware, request.server_software());
    environ.set(Key::ServerName, request.server_name_for_url());
    environ.set(Key::ServerAddr, request.local_address().0);
    environ.set(Key::ServerPort, decimal(request.server_port_for_url().into(), &mut number));
    if let Some(admin) = request.server().admin() {
        environ.set(Key::ServerAdmin, admin);
    }
    if let Some(host) = request.remote_host() {
        environ.other(b"REMOTE_HOST", host);
    }
    client(request, environ);
    environ.set(Key::DocumentRoot, request.document_root());
    environ.set(Key::ServerProtocol, request.protocol());
    environ.set(Key::RequestMethod, request.method());
    environ.set(Key::QueryString, request.query().unwrap_or_default());
    environ.set(Key::RequestUri, request.target());
    let (script_name, path_info) = split_path(request.uri(), request.path_info());
    environ.set(Key::ScriptName, &script_name);
    environ.set(Key::PathInfo, &path_info);
}

/// What a proxy in front of Apache says of the client; `None` where the configuration does not ask.
fn proxy<'call>(request: &Request<'call>, settings: &Settings<'_>) -> Option<ProxyTrust<'call>> {
    if settings.trusted_proxy_headers.is_empty() {
        return None;
    }
    let (headers, variables) = (request.headers_in(), request.subprocess_env());
    let (peer, _) = request.remote_address();
    Some(ProxyTrust::judge(
        settings.trusted_proxy_headers,
        settings.trusted_proxies,
        peer,
        |header| {
            // `SetEnv HTTP_X_…` stands in for a header that did not come.
            headers.get(header.field()).or_else(|| variables.get(header.variable()))
        },
    ))
}

/// Puts what a trusted proxy said in the place of what Apache saw.
fn apply_trusted_headers(proxy: &ProxyTrust<'_>, environ: &mut dyn Environ) {
    if let Some(list) = &proxy.forwarded_for {
        environ.header(b"X-Forwarded-For", list);
    }
    for (key, value) in [
        (Key::RemoteAddr, proxy.client),
        (Key::HttpHost, proxy.host),
        (Key::ServerName, proxy.server),
        (Key::ServerPort, proxy.port),
        (Key::ScriptName, proxy.script_name),
        (Key::MountPoint, proxy.script_name),
    ] {
        if let Some(value) = value {
            environ.set(key, value);
        }
    }
}

/// What the configuration and the connection decide.
fn set_common_variables(
    request: &Request<'_>,
    settings: &Settings<'_>,
    proxy: &Option<ProxyTrust<'_>>,
    script_name: &[u8],
    steady: &mut CommonVariables,
) {
    let mut number = [0; 20];
    let (local_address, local_port) = request.local_address();
    steady.set(Key::ServerPid, decimal(server_pid().into(), &mut number));
    steady.set(Key::ServerName, request.server_name_for_url());
    steady.set(Key::ServerAddr, local_address);
    steady.set(Key::ServerPort, decimal(request.server_port_for_url().into(), &mut number));
    steady.set(Key::ServerSoftware, request.server_software());
    if let Some(admin) = request.server().admin() {
        steady.set(Key::ServerAdmin, admin);
    }
    steady.set(Key::DocumentRoot, request.document_root());
    steady.set(Key::RequestScheme, request.scheme());
    let https = is_https(request, proxy);
    steady.set(Key::UrlScheme, if https { b"https" } else { b"http" });
    steady.set(Key::ContextPrefix, request.context_prefix());
    steady.set(Key::ContextDocumentRoot, request.context_document_root());
    steady.set(Key::ListenerHost, request.listener_host());
    steady.set(Key::ListenerPort, decimal(local_port.into(), &mut number));
    steady.set(Key::ServerProtocol, request.protocol());
    steady.set(Key::ScriptName, script_name);
    steady.set(Key::RawScriptName, script_name);
    steady.set(Key::ScriptFilename, request.filename().unwrap_or_default());
    let handler_script = settings.handler_script.map_or(&b""[..], |script| &script.path);
    steady.set(Key::HandlerScript, handler_script);
    steady.set(Key::RequestHandler, request.handler().unwrap_or_default());
}

/// The process id, asked of the kernel once. Requests are served in child processes only, which never fork.
fn server_pid() -> u32 {
    static PID: LazyLock<u32> = LazyLock::new(std::process::id);
    *PID
}

/// Whether the client's connection is encrypted: what a trusted proxy says of it, else what this server or
/// its administrator (`SetEnv HTTPS On`) says.
fn is_https(request: &Request<'_>, proxy: &Option<ProxyTrust<'_>>) -> bool {
    let said = proxy.as_ref().and_then(|it| it.https);
    let known = || proxy.as_ref().is_none_or(|it| !it.decides_scheme()) && request.is_https();
    let set = || {
        let value = request.subprocess_env().get(c"HTTPS").unwrap_or_default();
        value == b"1" || value.eq_ignore_ascii_case(b"on")
    };
    said.unwrap_or_else(|| known() || set())
}

fn client(request: &Request<'_>, environ: &mut dyn Environ) {
    let mut number = [0; 20];
    let (address, port) = request.remote_address();
    environ.set(Key::RemoteAddr, address);
    environ.set(Key::RemotePort, decimal(port.into(), &mut number));
}

/// Where an internal redirect came from.
fn redirection(request: &Request<'_>, previous: PreviousRequest<'_>, environ: &mut dyn Environ) {
    let url = if request.qualifies_redirect_url() { previous.whole_url() } else { previous.uri() };
    environ.set(Key::RedirectUrl, url);
    if let Some(query) = previous.query() {
        environ.set(Key::RedirectQueryString, query);
    }
}

fn set_log_variables(request: &mut Request<'_>, environ: &mut dyn Environ) {
    environ.set(Key::RequestId, request.log_id());
    if let Some(id) = request.connection_log_id() {
        environ.set(Key::ConnectionId, id);
    }
    environ.time(Key::RequestStart, request.time());
}

/// `WSGIMapHEADToGET`: an output filter that changes the body has to see one to tell its length.
fn method<'call>(request: &Request<'call>, map: MapHead) -> &'call [u8] {
    let mapped = match map {
        MapHead::Off => false,
        MapHead::On => true,
        MapHead::Auto => request.has_content_filter(),
    };
    if mapped && request.is_get_or_head() { b"GET" } else { request.method() }
}

/// The number in decimal digits.
pub(crate) fn decimal(number: u64, into: &mut [u8; 20]) -> &[u8] {
    // Twenty digits are enough for every u64.
    let (mut rest, mut start) = (number, into.len());
    loop {
        start -= 1;
        if let Some(digit) = into.get_mut(start) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 || start == 0 {
            return into.get(start..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 65535, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
