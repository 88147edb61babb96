//! The handlers `wsgi-status` and `wsgi-health`: which page a request is for. They must never ask another process.
#![forbid(unsafe_code)]

use super::query::{Asked, Format, asked};
use super::snapshot::Snapshot;
use super::{html, json, openmetrics};
use crate::child::Child;
use crate::config::RequestLines;
use crate::httpd::{BrigadeEnd, Head, Mpm, Outcome, Request};
use scoreboard::Exposition;
use wsgi::{Level, ResponseHead};

const HTML: &[u8] = b"text/html; charset=utf-8";
const TEXT: &[u8] = b"text/plain; charset=utf-8";
const JSON: &[u8] = b"application/json";

/// Answers with the status, as the query asks for it. `lines`: what is shown of requests.
pub(crate) fn answer(request: &mut Request<'_>, lines: RequestLines) -> Outcome {
    if let Err(status) = permit(request) {
        return Outcome::Status(status);
    }
    let Some(child) = Child::get() else { return Outcome::Status(503) };
    let Asked { format, group } = asked(request.query().unwrap_or_default());
    let snapshot = Snapshot::take(child, lines, group.as_deref());
    if group.is_some() && snapshot.groups.is_empty() {
        return Outcome::Status(404);
    }
    match format {
        Format::Html => send(request, 200, HTML, &html::page(&snapshot)),
        Format::Json => send(request, 200, JSON, &json::page(&snapshot)),
        Format::Prometheus => send_metrics(request, &snapshot),
    }
}

/// Answers by the last part of the path: `healthy`, `ready` or `metrics`.
pub(crate) fn answer_health(request: &mut Request<'_>) -> Outcome {
    if let Err(status) = permit(request) {
        return Outcome::Status(status);
    }
    let Some(child) = Child::get() else { return Outcome::Status(503) };
    let last = request.uri().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match last {
        b"healthy" => send(request, 200, TEXT, "healthy\n"),
        b"ready" => {
            let snapshot = Snapshot::take(child, RequestLines::Off, None);
            if Mpm::is_stopping() {
                return send(request, 503, TEXT, "not ready: the server stops\n");
            }
            let not_ready = snapshot.groups.iter().filter(|group| !group.is_ready());
            let names: Vec<_> = not_ready.map(|group| &*group.name).collect();
            match names.as_slice() {
                [] => send(request, 200, TEXT, "ready\n"),
                names => send(request, 503, TEXT, &format!("not ready: {}\n", names.join(", "))),
            }
        }
        b"metrics" => {
            let snapshot = Snapshot::take(child, RequestLines::Off, None);
            send_metrics(request, &snapshot)
        }
        _ => Outcome::Status(404),
    }
}

/// Whether the request may see what all groups do; the status of the answer where it may not. A tenant that may write
/// `SetHandler` into a `.htaccess` file must not see other tenants, and httpd does not say who has set a handler.
fn permit(request: &Request<'_>) -> Result<(), u16> {
    if request.has_override_file() {
        let line = b"WSGI0228: the handlers wsgi-status and wsgi-health answer only where no .htaccess file applies, \
            because that may have set them; name a path outside of such directories, or AllowOverride None";
        request.log(Level::Error, line);
        return Err(403);
    }
    if request.is_get_or_head() { Ok(()) } else { Err(405) }
}

fn send_metrics(request: &mut Request<'_>, snapshot: &Snapshot) -> Outcome {
    let accepted = request.headers_in().get(c"Accept").unwrap_or_default();
    let is_openmetrics = Exposition::is_openmetrics_wanted(accepted);
    let kind = Exposition::media_type(is_openmetrics).as_bytes();
    send(request, 200, kind, &openmetrics::page(snapshot, is_openmetrics))
}

fn send(request: &mut Request<'_>, status: u16, kind: &[u8], text: &str) -> Outcome {
    let mut head = ResponseHead::default();
    let line: &[u8] = if status == 200 { b"200 OK" } else { b"503 Service Unavailable" };
    let fields: [(&[u8], &[u8]); 3] = [
        (b"Content-Type", kind),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
    ];
    let filled = head
        .set_status(line)
        .and_then(|()| fields.into_iter().try_for_each(|(name, value)| head.push(name, value)));
    if filled.is_err() {
        return Outcome::Status(500);
    }
    request.set_head(&Head::of(&head));
    let mut brigade = request.new_brigade();
    let passed = request.pass_bytes(&mut brigade, text.as_bytes(), BrigadeEnd::End);
    request.outcome(passed)
}
