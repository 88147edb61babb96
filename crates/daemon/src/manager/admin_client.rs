//! One connection to an admin socket: the request on it, in HTTP or FastCGI, and its answer. Nothing here waits.
#![forbid(unsafe_code)]

use crate::probe::{Condition, Probe};
use fastcgi::{Capabilities, Event, Limits, RecordType, ServerConnection, encoder};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// A client.
pub(super) struct AdminClient {
    socket: OwnedFd,
    peer: Peer,
    /// It is closed then, unless it waits for the group to be drained.
    until: Instant,
    protocol: Protocol,
    is_open: bool,
}

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process of this machine, at a Unix socket.
    Local,
    /// It has come over TCP.
    Remote,
}

/// What a client asks of the group.
pub(super) enum Request {
    /// Nothing, or no more than an answer.
    None,
    /// To be drained.
    Drain,
    /// The same, which this peer may not; it has been told so.
    Refused(String),
}

/// What a client speaks, and what has come of it.
enum Protocol {
    Unknown,
    Http(Vec<u8>),
    FastCgi(Box<ServerConnection>),
    /// It has asked for the group to be drained, and waits until it is. What it sends meanwhile is read, because the
    /// manager would wake up for it again and again, and dropped; the number of bytes.
    WaitsForDrain(usize),
}

impl Protocol {
    /// The one that begins with these bytes.
    fn of(bytes: &[u8]) -> Self {
        if bytes.first() != Some(&FASTCGI_VERSION) {
            return Self::Http(Vec::new());
        }
        let capabilities = Capabilities { max_conns: 1, max_reqs: 1, authorizer: false };
        Self::FastCgi(Box::new(ServerConnection::new(Limits::default(), capabilities)))
    }
}

/// A status and a text.
type Response = (u16, &'static str);

/// The most bytes of a request over HTTP.
const MAX_REQUEST: usize = 8 * 1024;
/// The first byte of FastCGI, its version, with which no request of HTTP begins.
const FASTCGI_VERSION: u8 = 1;
/// The path of the command.
const DRAIN: &str = "/-/drain";

impl AdminClient {
    pub(super) fn new(socket: OwnedFd, peer: Peer, until: Instant) -> Self {
        Self { socket, peer, until, protocol: Protocol::Unknown, is_open: true }
    }

    /// When it has taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!matches!(self.protocol, Protocol::WaitsForDrain(_))).then_some(self.until)
    }

    /// Whether the connection goes on at this time.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.is_open && self.deadline().is_none_or(|until| now < until)
    }

    /// Answers what has come; what that asks of the group.
    pub(super) fn serve(&mut self, condition: Condition) -> Request {
        let mut bytes = [0; 4096];
        let count = match sys::receive_now(self.socket.as_fd(), &mut bytes) {
            Ok(count) if count > 0 => count,
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => 0,
            _ => {
                self.is_open = false;
                return Request::None;
            }
        };
        if let Protocol::WaitsForDrain(dropped) = &mut self.protocol {
            *dropped += count;
            self.is_open &= *dropped <= MAX_REQUEST;
            self.report_drained(condition);
            return Request::None;
        }
        if count == 0 {
            return Request::None;
        }
        let new = bytes.get(..count).unwrap_or_default();
        if matches!(self.protocol, Protocol::Unknown) {
            self.protocol = Protocol::of(new);
        }
        match &mut self.protocol {
            Protocol::Http(request) => {
                request.extend_from_slice(new);
                let whole = request.windows(4).any(|bytes| bytes == b"\r\n\r\n");
                let request = String::from_utf8_lossy(request).into_owned();
                match whole {
                    true => self.answer_http(&request, condition),
                    false => {
                        self.is_open &= request.len() < MAX_REQUEST;
                        Request::None
                    }
                }
            }
            Protocol::FastCgi(connection) => {
                connection.spare(count).iter_mut().zip(new).for_each(|(to, from)| *to = *from);
                connection.filled(count);
                let answer = answer_fastcgi(connection, condition);
                let goes_on = answer.is_some() && !connection.must_close();
                match answer {
                    Some(bytes) if goes_on => self.send_and_go_on(&bytes),
                    Some(bytes) => self.send(&bytes),
                    None => self.is_open = false,
                }
                Request::None
            }
            Protocol::Unknown | Protocol::WaitsForDrain(_) => Request::None,
        }
    }

    /// Tells a client that waits for it that the group has drained.
    fn report_drained(&mut self, condition: Condition) {
        if self.is_open && condition == Condition::Drained {
            self.send(http("200 OK", "drained\n", true).as_bytes());
        }
    }

    fn answer_http(&mut self, request: &str, condition: Condition) -> Request {
        let mut words = request.split_ascii_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let path = target.split('?').next().unwrap_or("");
        if path == DRAIN {
            let (status, text, asked) = match (method, self.peer) {
                ("POST", Peer::Local) => match self.check_user() {
                    Ok(()) => {
                        self.protocol = Protocol::WaitsForDrain(0);
                        return Request::Drain;
                    }
                    Err(user) => {
                        let text = "only for root and the daemon's user\n";
                        ("403 Forbidden", text, Request::Refused(user))
                    }
                },
                ("POST", Peer::Remote) => {
                    ("403 Forbidden", "only over a Unix socket\n", Request::None)
                }
                _ => ("405 Method Not Allowed", "POST\n", Request::None),
            };
            self.send(http(status, text, true).as_bytes());
            return asked;
        }
        let (status, text) = response(path.as_bytes(), condition);
        let line = match status {
            200 => "200 OK",
            503 => "503 Service Unavailable",
            _ => "404 Not Found",
        };
        self.send(http(line, text, method != "HEAD").as_bytes());
        Request::None
    }

    /// Checks that the user who has connected may give commands: whatever mode the socket file has, stopping the group
    /// is for those who could kill its processes.
    ///
    /// # Errors
    /// Where the user may not; who that is.
    fn check_user(&self) -> Result<(), String> {
        match sys::peer_uid(self.socket.as_fd()) {
            Ok(uid) if uid == 0 || uid == sys::effective_uid() => Ok(()),
            Ok(uid) => Err(format!("uid {uid}")),
            Err(why) => Err(format!("an unknown peer ({why})")),
        }
    }

    /// Sends the last bytes.
    fn send(&mut self, bytes: &[u8]) {
        self.send_and_go_on(bytes);
        sys::shut_down(self.socket.as_fd());
        self.is_open = false;
    }

    /// Sends what always fits in the buffer of a socket that is read.
    fn send_and_go_on(&mut self, bytes: &[u8]) {
        let sent = sys::send_now(self.socket.as_fd(), &[IoSlice::new(bytes)]);
        self.is_open &= sent.is_ok_and(|count| count == bytes.len());
    }
}

impl AsFd for AdminClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The answer to a path.
fn response(path: &[u8], condition: Condition) -> Response {
    match (Probe::of_path(path), condition) {
        (Some(Probe::Healthy), _) => (200, "healthy\n"),
        (Some(Probe::Ready), Condition::Ready) => (200, "ready\n"),
        (Some(Probe::Ready), Condition::Starting) => (503, "starting\n"),
        (Some(Probe::Ready), Condition::Draining | Condition::Drained) => (503, "draining\n"),
        (None, _) => (404, "there are /-/healthy and /-/ready\n"),
    }
}

/// A response of HTTP, the last one on its connection.
fn http(status: &str, text: &str, with_body: bool) -> String {
    let length = text.len();
    let body = if with_body { text } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The answers to what has come on a FastCGI connection; `None` where that is broken.
fn answer_fastcgi(connection: &mut ServerConnection, condition: Condition) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let ends = match connection.next().ok()? {
            None => return Some(out),
            Some(Event::Reply(bytes)) => {
                out.extend_from_slice(bytes);
                false
            }
            // Not before all of the request is here: what is still to come to a closed socket would end the connection
            // before the answer is read.
            Some(Event::StdinEnd | Event::Abort) => true,
            Some(Event::Begin(_) | Event::Params(_) | Event::Stdin(_)) => false,
        };
        if ends {
            append_answer(&mut out, connection, condition);
            connection.finish();
        }
    }
}

/// The answer to the active request of a FastCGI connection.
fn append_answer(out: &mut Vec<u8>, connection: &ServerConnection, condition: Condition) {
    let params = connection.params();
    let param = |name: &[u8]| params.get(name).unwrap_or_default();
    let path = [param(b"SCRIPT_NAME"), param(b"PATH_INFO")].concat();
    let (status, text) = response(&path, condition);
    let reason = match status {
        200 => "OK",
        503 => "Service Unavailable",
        _ => "Not Found",
    };
    let body = if param(b"REQUEST_METHOD") == b"HEAD" { "" } else { text };
    let answer = format!("Status: {status} {reason}\r\nContent-Type: text/plain\r\n\r\n{body}");
    let id = connection.active().map_or(0, |active| active.id);
    encoder::append_stream(out, RecordType::STDOUT, id, answer.as_bytes());
    out.extend_from_slice(&encoder::end_answer(id, 0));
}
