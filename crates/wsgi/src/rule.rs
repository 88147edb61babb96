//! What becomes of a request header, and how Python writes bytes in an error text.

/// What a request header becomes (behaviour of mod_wsgi; RFC 3875 section 4.1.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// `HTTP_<NAME>`.
    Http,
    /// `CONTENT_TYPE`.
    ContentType,
    /// `CONTENT_LENGTH`.
    ContentLength,
    /// `HTTP_HOST`.
    Host,
    /// `HTTP_AUTHORIZATION`, where the configuration passes credentials on.
    Authorization,
    /// `HTTP_PROXY_AUTHORIZATION`, where the configuration passes credentials on.
    ProxyAuthorization,
    /// Nothing: it would set `HTTP_PROXY`, which programs take for their own proxy (httpoxy).
    Proxy,
    /// Nothing: a name with anything but letters, digits and `-` can be made to look like another
    /// header once `-` has become `_`.
    Ambiguous,
}

/// The rule for a header of this name.
pub fn header_rule(name: &[u8]) -> HeaderRule {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        4 if is(b"Host") => HeaderRule::Host,
        5 if is(b"Proxy") => HeaderRule::Proxy,
        12 if is(b"Content-Type") => HeaderRule::ContentType,
        13 if is(b"Authorization") => HeaderRule::Authorization,
        14 if is(b"Content-Length") => HeaderRule::ContentLength,
        19 if is(b"Proxy-Authorization") => HeaderRule::ProxyAuthorization,
        0 => HeaderRule::Ambiguous,
        _ if name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-') => HeaderRule::Http,
        _ => HeaderRule::Ambiguous,
    }
}

/// The bytes as Python's `repr` writes them: `b'…'`.
pub fn python_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut text = String::with_capacity(bytes.len() + 3);
    text.push('b');
    text.push(quote as char);
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            _ if byte == quote => {
                text.push('\\');
                text.push(byte as char);
            }
            0x20..0x7f => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push(quote as char);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_where_cgi_puts_them() {
        let table: [(&[u8], HeaderRule); 10] = [
            (b"Accept", HeaderRule::Http),
            (b"X-1", HeaderRule::Http),
            (b"host", HeaderRule::Host),
            (b"pROXY", HeaderRule::Proxy),
            (b"Content-TYPE", HeaderRule::ContentType),
            (b"content-length", HeaderRule::ContentLength),
            (b"Authorization", HeaderRule::Authorization),
            (b"Proxy-Authorization", HeaderRule::ProxyAuthorization),
            (b"X_Forwarded_For", HeaderRule::Ambiguous),
            (b"", HeaderRule::Ambiguous),
        ];
        for (name, rule) in table {
            assert_eq!(header_rule(name), rule, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn bytes_are_quoted_as_python_quotes_them() {
        let table: [(&[u8], &str); 5] = [
            (b"plain", "b'plain'"),
            (b"it's", "b\"it's\""),
            (b"it's \"so\"", "b'it\\'s \"so\"'"),
            (b"\r\n\t\\", "b'\\r\\n\\t\\\\'"),
            (b"\x00\xff", "b'\\x00\\xff'"),
        ];
        for (bytes, text) in table {
            assert_eq!(python_repr(bytes), text);
        }
    }
}
