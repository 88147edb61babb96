//! The paths by which a load balancer asks whether a daemon that is run by hand is alive and wants requests, and what
//! there is to say.
#![forbid(unsafe_code)]

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Is it alive? A busy one is.
    Healthy,
    /// Is it ready for requests?
    Ready,
}

impl Probe {
    /// The question that a path is.
    pub(crate) fn of_path(path: &[u8]) -> Option<Self> {
        match path {
            b"/-/healthy" => Some(Self::Healthy),
            b"/-/ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// How a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// No worker is ready yet.
    Starting,
    /// A worker serves requests.
    Ready,
    /// Requests are answered, but should go elsewhere.
    Draining,
    /// No worker is left.
    Drained,
}

/// The methods of health checks in HTTP.
const METHODS: [&[u8]; 3] = [b"GET", b"HEAD", b"OPTIONS"];
/// Bytes that the head of a health check in HTTP may have.
const HEAD_LIMIT: usize = 8 * 1024;

/// A health check in HTTP, sent to a socket for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HttpCheck {
    pub(crate) probe: Probe,
    wants_body: bool,
}

impl HttpCheck {
    /// Whether more bytes are needed to tell that these are one: load balancers may send the head in pieces. None at all are
    /// what a broken record of FastCGI has left.
    pub(crate) fn is_begun(bytes: &[u8]) -> bool {
        let is_question = METHODS.iter().any(|method| {
            let both = method.iter().chain(b" ").zip(bytes);
            both.into_iter().all(|(expected, byte)| expected == byte)
        });
        let is_begun = is_question && !bytes.is_empty();
        is_begun && bytes.len() < HEAD_LIMIT && !bytes.windows(4).any(|end| end == b"\r\n\r\n")
    }

    /// Reads a request without a body that has come whole; `None` where the bytes are none, or one for another path.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.strip_suffix(b"\r\n\r\n")?;
        let line = head.split(|&byte| byte == b'\r').next()?;
        let mut words = line.split(|&byte| byte == b' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let is_http = version.starts_with(b"HTTP/1.") && words.next().is_none();
        let wants_body = method != b"HEAD";
        let is_question = METHODS.contains(&method);
        let path = target.split(|&byte| byte == b'?').next()?;
        let probe = Probe::of_path(path).filter(|_| is_http && is_question)?;
        Some(Self { probe, wants_body })
    }

    /// The response with this status, 200 or 503, the last one on its connection.
    pub(crate) fn answer(self, status: u16) -> Vec<u8> {
        let (reason, text) = match (status, self.probe) {
            (200, Probe::Healthy) => ("OK", "healthy\n"),
            (200, Probe::Ready) => ("OK", "ready\n"),
            _ => ("Service Unavailable", "draining\n"),
        };
        let (length, body) = (text.len(), if self.wants_body { text } else { "" });
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_in_http_is_a_whole_request_for_one_of_the_paths() {
        for (bytes, probe) in [
            ("GET /-/ready HTTP/1.0\r\nHost: 10.1.0.11:9000\r\n\r\n", Some(Probe::Ready)),
            ("HEAD /-/ready?a=b HTTP/1.1\r\nHost: a\r\n\r\n", Some(Probe::Ready)),
            ("OPTIONS /-/healthy HTTP/1.1\r\n\r\n", Some(Probe::Healthy)),
            ("GET /-/ready HTTP/1.0\r\nHost: a\r\n", None),
            ("GET /-/ready HTTP/1.0\r\n\r\nGET", None),
            ("GET /-/ready HTTP/1.0 x\r\n\r\n", None),
            ("GET /-/ready\r\n\r\n", None),
            ("POST /-/ready HTTP/1.0\r\n\r\n", None),
            ("GET / HTTP/1.0\r\nX: /-/ready\r\n\r\n", None),
            ("\r\n\r\n", None),
            ("", None),
        ] {
            let found = HttpCheck::read(bytes.as_bytes()).map(|check| check.probe);
            assert_eq!(found, probe, "{bytes:?}");
        }
    }

    #[test]
    fn more_bytes_are_needed_of_the_beginning_of_a_health_check_in_http() {
        let long = format!("GET /-/ready HTTP/1.0\r\nX: {}", "x".repeat(HEAD_LIMIT));
        for (bytes, is_begun) in [
            ("G", true),
            ("GET /-/re", true),
            ("OPTIONS /-/ready HTTP/1.0\r\nHost: a\r\n", true),
            ("HEAD /-/ready HTTP/1.0\r\n\r\n", false),
            ("GETS", false),
            ("POST /-/ready", false),
            ("\u{1}\u{1}\0\u{1}\0\u{8}\0\0", false),
            ("", false),
            (&long, false),
        ] {
            assert_eq!(HttpCheck::is_begun(bytes.as_bytes()), is_begun, "{bytes:?}");
        }
    }

    #[test]
    fn a_health_check_in_http_gets_the_words_of_the_admin_sockets() {
        let check = |method: &str| {
            HttpCheck::read(format!("{method} /-/ready HTTP/1.0\r\n\r\n").as_bytes()).unwrap()
        };
        let text = |method: &str, status| String::from_utf8(check(method).answer(status)).unwrap();
        assert!(text("GET", 200).starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(
            text("GET", 200).ends_with("Content-Length: 6\r\nConnection: close\r\n\r\nready\n")
        );
        assert!(text("GET", 503).ends_with("\r\n\r\ndraining\n"));
        assert!(text("HEAD", 503).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(text("HEAD", 503).ends_with("Content-Length: 9\r\nConnection: close\r\n\r\n"));
    }
}
