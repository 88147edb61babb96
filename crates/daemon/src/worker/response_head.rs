//! The head of a response on the wire. It knows no connection.
#![forbid(unsafe_code)]

use fastcgi::head::{HeadError, HeadWriter};
use wsgi::{Body, Output, ResponseHead, Then};

/// Responses of at most so many bytes are collected by the Apache module, so that httpd adds their length.
const COLLECTED: usize = 16 * 1024;

/// Writes the head of a response that begins with `output`. Gives the names of headers that are left out. `head_only`: the
/// client gets no body.
///
/// # Errors
/// What is wrong with the head.
pub(super) fn encode_head(
    into: &mut Vec<u8>,
    head: &ResponseHead,
    output: &Output<'_>,
    from_module: bool,
    head_only: bool,
) -> Result<Vec<String>, HeadError> {
    let length = implied_length(head, output, from_module, head_only);
    let reason = head.status_line().get(4..).unwrap_or_default();
    let mut left_out = Vec::new();
    let mut writer = HeadWriter::new(into, head.status(), reason)?;
    for (name, value) in head.headers() {
        if from_module || !name.eq_ignore_ascii_case(b"Status") {
            writer.any_field(name, value)?;
        } else {
            // Web servers other than the Apache module would take it for the status.
            left_out.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    if let Some(length) = length {
        writer.any_field(b"Content-Length", length.to_string().as_bytes())?;
    }
    writer.finish();
    Ok(left_out)
}

/// The length of a response that is complete, where neither the application has declared it nor httpd will: httpd adds the
/// length of small ones.
fn implied_length(
    head: &ResponseHead,
    output: &Output<'_>,
    from_module: bool,
    head_only: bool,
) -> Option<usize> {
    let Body::Bytes(bytes) = output.body else { return None };
    let whole = output.then == Then::End && !head_only && !head.is_bodiless();
    let told = from_module && bytes.len() <= COLLECTED;
    (whole && !told && head.content_length() == Ok(None)).then_some(bytes.len())
}
