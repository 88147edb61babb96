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

/// The longest line of a head that mod_proxy_fcgi takes, in bytes.
const MAX_LINE: usize = 8190;
/// The longest head that every other web server takes once it is configured as its manual says, in bytes.
const MAX_HEAD: usize = 8192;

/// What to say of an encoded head that is too long for web servers other than the Apache module; most are not.
pub(super) fn oversize(head: &[u8]) -> Option<String> {
    if head.len() <= MAX_LINE {
        return None;
    }
    let lines = head.split(|byte| *byte == b'\n');
    let longest = lines.max_by_key(|line| line.len()).unwrap_or_default();
    if head.len() <= MAX_HEAD && longest.len() <= MAX_LINE {
        return None;
    }
    let name = longest.split(|byte| *byte == b':').next().unwrap_or_default();
    Some(format!(
        "WSGI0249: the head of a response has {} bytes, {} of them in the header {}; mod_proxy_fcgi takes {MAX_LINE} in a \
         header, nginx fastcgi_buffer_size in all, HAProxy about tune.bufsize in all",
        head.len(),
        longest.len(),
        name.escape_ascii(),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_that_is_too_long_for_some_web_server_is_named_with_its_longest_header() {
        let head = |count: usize, length: usize| {
            let line = format!("X-Long: {}\r\n", "x".repeat(length));
            format!("Status: 200 OK\r\n{}\r\n", line.repeat(count)).into_bytes()
        };
        assert_eq!(oversize(&head(1, 100)), None);
        assert_eq!(oversize(&head(8, 1000)), None);
        let one = oversize(&head(1, 8200)).unwrap();
        assert!(one.contains("8228 bytes, 8209 of them in the header X-Long;"), "{one}");
        let many = oversize(&head(9, 1000)).unwrap();
        assert!(many.contains("9108 bytes, 1009 of them in the header X-Long;"), "{many}");
    }
}
