//! The variables of a request, from its params. It knows no connection.
#![forbid(unsafe_code)]

use crate::worker::mount::{SentPath, without_proxy_prefix};
use crate::worker::target::{Application, is_private};
use fastcgi::Params;
use group_config::FrontEnds;
use wsgi::{Environ, Key};

/// Hands the variables of a request over. `front_ends` are the web servers of a daemon that is run by hand.
pub(super) fn hand_over(
    params: Params<'_>,
    application: &Application,
    front_ends: Option<&FrontEnds>,
    environ: &mut dyn Environ,
) {
    let common = &application.common;
    environ.common(common);
    application.others.iter().for_each(|(name, value)| environ.other(name, value));
    let (mut scheme, mut sent) = (None, SentPath::default());
    let mut secure = false;
    let from_module = application.from_module;
    for (name, value) in params {
        if let Some(header) = name.strip_prefix(b"HTTP_") {
            hand_over_header(header, (name, value), from_module, environ);
            continue;
        }
        match Key::from_name(name) {
            Some(Key::ScriptName) => sent.script_name = Some(value),
            Some(Key::PathInfo) => sent.path_info = Some(value),
            Some(Key::ScriptFilename) if !from_module => {
                sent.script_filename = value;
                environ.set(Key::ScriptFilename, without_proxy_prefix(value));
            }
            Some(Key::ServerSoftware) => {
                sent.server_software = value;
                environ.set(Key::ServerSoftware, value);
            }
            Some(Key::UrlScheme) => scheme = Some(value),
            Some(key) if key.is_time() => environ.time(key, time(value)),
            Some(key) => environ.set(key, value),
            None if name == b"HTTPS" => {
                secure = value.eq_ignore_ascii_case(b"on") || value == b"1";
            }
            None if is_private(name) => {}
            None => environ.other(name, value),
        }
    }
    let has_script = sent.script_name.is_some() || !common.has(Key::ScriptName);
    let (script, path) = match front_ends {
        Some(front_ends) => sent.split(front_ends),
        None => {
            let [script, path] = [sent.script_name, sent.path_info].map(Option::unwrap_or_default);
            (script.into(), path.into())
        }
    };
    if has_script {
        environ.set(Key::ScriptName, &script);
    }
    environ.set(Key::PathInfo, &path);
    if scheme.is_some() || !common.has(Key::UrlScheme) {
        let known: &[u8] = if secure { b"https" } else { b"http" };
        environ.set(Key::UrlScheme, scheme.unwrap_or(known));
    }
    environ.time(Key::DaemonStart, wsgi::epoch_micros());
}

/// Hands over a variable whose name is `HTTP_` and `header`.
fn hand_over_header(
    header: &[u8],
    (name, value): (&[u8], &[u8]),
    from_module: bool,
    environ: &mut dyn Environ,
) {
    match header {
        b"HOST" => environ.set(Key::HttpHost, value),
        b"AUTHORIZATION" => environ.set(Key::HttpAuthorization, value),
        b"PROXY_AUTHORIZATION" => environ.set(Key::HttpProxyAuthorization, value),
        // Apache has checked the client's headers; such a name is set by its configuration.
        _ if from_module && !is_like_a_header(header) => environ.other(name, value),
        _ if from_module => environ.header(header, value),
        // httpoxy (CVE-2016-5385): programs take it for the proxy that they are to use.
        b"PROXY" => {}
        // nginx sends them in addition to the variables without the prefix, which CGI defines.
        b"CONTENT_TYPE" | b"CONTENT_LENGTH" => {}
        _ => environ.header(header, value),
    }
}

/// Whether a variable's name, behind its `HTTP_`, may have been made of a header's. The variables of two headers have
/// no such prefix.
fn is_like_a_header(name: &[u8]) -> bool {
    !name.iter().any(|byte| *byte == b'-' || byte.is_ascii_lowercase())
        && !matches!(name, b"CONTENT_TYPE" | b"CONTENT_LENGTH")
}

fn time(value: &[u8]) -> i64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
