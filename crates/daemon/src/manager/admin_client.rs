//! One connection to an admin socket: the request on it, in HTTP or FastCGI, and its answer. Nothing here waits.
#![forbid(unsafe_code)]

use super::admin_http::{self, HttpRequest, Target};
use super::admin_order::{Answer, Order};
use crate::probe::Condition;
use fastcgi::{Capabilities, Event, Limits, RecordType, ServerConnection, encoder};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A client.
pub(super) struct AdminClient {
    /// Its number among all clients of the process.
    pub(super) id: u64,
    socket: OwnedFd,
    peer: Peer,
    /// It is closed then, unless it waits for the group.
    until: Instant,
    protocol: Protocol,
    is_open: bool,
    /// The rest of the answer, for which there was no room.
    unsent: Vec<u8>,
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
    /// To be answered later; and the user who asks, where not each client may.
    Order(Order, Option<u32>),
    /// An order, which this peer may not give; it has been told so.
    Refused(String),
}

/// What a client speaks, and what has come of it.
enum Protocol {
    Unknown,
    Http(Vec<u8>),
    FastCgi(Box<ServerConnection>),
    /// It has asked something of the group, and waits for the answer. What it sends meanwhile is read, because the
    /// manager would wake up for it again and again, and dropped.
    Waits {
        /// The number of bytes that were dropped.
        dropped: usize,
        /// Whether it wants more than the head of the answer.
        with_body: bool,
        /// The request over FastCGI that is answered; `None`: it speaks HTTP.
        fastcgi: Option<u16>,
    },
    /// It has its answer, but for what is unsent.
    Answered,
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

/// The most bytes of a request over HTTP.
const MAX_REQUEST: usize = 8 * 1024;
/// The first byte of FastCGI, its version, with which no request of HTTP begins.
const FASTCGI_VERSION: u8 = 1;
/// How soon a long answer goes on where the client has not read its beginning.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);
/// How long a client may take to read its answer.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl AdminClient {
    pub(super) fn new(id: u64, socket: OwnedFd, peer: Peer, until: Instant) -> Self {
        let protocol = Protocol::Unknown;
        Self { id, socket, peer, until, protocol, is_open: true, unsent: Vec::new() }
    }

    /// Whether what it sends is to be waited for. Of a client that has its answer it is not: one that floods, or has closed
    /// its end for writing, can be read all the time.
    pub(super) const fn is_awaited(&self) -> bool {
        !matches!(self.protocol, Protocol::Answered)
    }

    /// When there is something to do although nothing has come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if !self.unsent.is_empty() {
            return Some(Instant::now() + RETRY_INTERVAL);
        }
        (!matches!(self.protocol, Protocol::Waits { .. })).then_some(self.until)
    }

    /// Whether the connection goes on at this time.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        let has_time = matches!(self.protocol, Protocol::Waits { .. }) || now < self.until;
        self.is_open && has_time
    }

    /// Reads what has come, and answers it as far as the group has nothing to do with that.
    pub(super) fn serve(&mut self, condition: Condition) -> Request {
        let mut bytes = [0; 4096];
        let count = match sys::receive_now(self.socket.as_fd(), &mut bytes) {
            Ok(count) if count > 0 => count,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => 0,
            // A client that has its answer may close its end for writing.
            Ok(_) if matches!(self.protocol, Protocol::Answered) => 0,
            _ => {
                self.is_open = false;
                return Request::None;
            }
        };
        if !self.unsent.is_empty() {
            self.send(&[]);
        }
        let new = bytes.get(..count).unwrap_or_default();
        if new.is_empty() {
            return Request::None;
        }
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
                let reply = answer_fastcgi(connection, condition);
                let must_close = connection.must_close();
                self.answer_reply(reply, must_close)
            }
            Protocol::Waits { dropped, .. } => {
                *dropped += count;
                self.is_open &= *dropped <= MAX_REQUEST;
                Request::None
            }
            Protocol::Unknown | Protocol::Answered => Request::None,
        }
    }

    /// Sends what is to be sent over FastCGI.
    fn answer_reply(&mut self, reply: Option<FastCgiReply>, must_close: bool) -> Request {
        match reply {
            None => self.is_open = false,
            Some(FastCgiReply { bytes, asked: Some(Question { order, id, with_body }) }) => {
                self.protocol = Protocol::Waits { dropped: 0, with_body, fastcgi: Some(id) };
                if !bytes.is_empty() {
                    self.send_short(&bytes);
                }
                return Request::Order(order, None);
            }
            Some(FastCgiReply { bytes, .. }) if must_close => {
                self.protocol = Protocol::Answered;
                self.send(&bytes);
            }
            Some(FastCgiReply { bytes, .. }) => self.send_short(&bytes),
        }
        Request::None
    }

    fn answer_http(&mut self, head: &str, condition: Condition) -> Request {
        let request = HttpRequest::parse(head);
        let with_body = request.method != "HEAD";
        self.protocol = Protocol::Waits { dropped: 0, with_body, fastcgi: None };
        match request.target(condition) {
            Target::Known(answer) => self.answer(&answer),
            Target::Order(order) if order.is_open() => return Request::Order(order, None),
            Target::Order(order) => match self.peer {
                Peer::Local => match self.check_user() {
                    Ok(user) => return Request::Order(order, Some(user)),
                    Err(user) => {
                        let text = "only for root and the daemon's user\n";
                        self.answer(&Answer::text("403 Forbidden", text));
                        let name = order.name();
                        return Request::Refused(format!(
                            "a request to {name} was refused: {user} is neither root nor the daemon's user"
                        ));
                    }
                },
                Peer::Remote => {
                    self.answer(&Answer::text("403 Forbidden", "only over a Unix socket\n"));
                }
            },
        }
        Request::None
    }

    /// Answers a client that waits, and closes the connection.
    pub(super) fn answer(&mut self, answer: &Answer) {
        if let Protocol::Waits { with_body, fastcgi, .. } = self.protocol {
            self.protocol = Protocol::Answered;
            self.until = Instant::now() + READ_TIMEOUT;
            match fastcgi {
                None => self.send(admin_http::response(answer, with_body).as_bytes()),
                Some(id) => {
                    let mut bytes = Vec::new();
                    append_answer(&mut bytes, id, answer, with_body);
                    self.send(&bytes);
                }
            }
        }
    }

    /// Checks that the user who has connected may give commands: whatever mode the socket file has, stopping the group
    /// is for those who could kill its processes. Who that is.
    ///
    /// # Errors
    /// Where the user may not; who that is.
    fn check_user(&self) -> Result<u32, String> {
        match sys::peer_uid(self.socket.as_fd()) {
            Ok(uid) if uid == 0 || uid == sys::effective_uid() => Ok(uid),
            Ok(uid) => Err(format!("uid {uid}")),
            Err(why) => Err(format!("an unknown peer ({why})")),
        }
    }

    /// Sends the last bytes, or keeps what there is no room for.
    fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        while !self.unsent.is_empty() {
            match sys::send_now(self.socket.as_fd(), &[IoSlice::new(&self.unsent)]) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.unsent.clear();
        sys::shut_down(self.socket.as_fd());
        self.is_open = false;
    }

    /// Sends what always fits in the buffer of a socket that is read.
    fn send_short(&mut self, bytes: &[u8]) {
        let sent = sys::send_now(self.socket.as_fd(), &[IoSlice::new(bytes)]);
        self.is_open &= sent.is_ok_and(|count| count == bytes.len());
    }
}

impl AsFd for AdminClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What there is to say on a FastCGI connection.
struct FastCgiReply {
    bytes: Vec<u8>,
    /// What its client asks of the group; nothing more is read after that.
    asked: Option<Question>,
}

/// A request over FastCGI that the group answers.
struct Question {
    order: Order,
    id: u16,
    with_body: bool,
}

/// The answers to what has come on a FastCGI connection; `None` where that is broken.
fn answer_fastcgi(connection: &mut ServerConnection, condition: Condition) -> Option<FastCgiReply> {
    let mut bytes = Vec::new();
    loop {
        let ends = match connection.next().ok()? {
            None => return Some(FastCgiReply { bytes, asked: None }),
            Some(Event::Reply(reply)) => {
                bytes.extend_from_slice(reply);
                false
            }
            // Not before all of the request is here: what is still to come to a closed socket would end the connection
            // before the answer is read.
            Some(Event::StdinEnd | Event::Abort) => true,
            Some(Event::Begin(_) | Event::Params(_) | Event::Stdin(_)) => false,
        };
        if !ends {
            continue;
        }
        let params = connection.params();
        let param = |name: &[u8]| params.get(name).unwrap_or_default();
        let path = [param(b"SCRIPT_NAME"), param(b"PATH_INFO")].concat();
        let with_body = param(b"REQUEST_METHOD") != b"HEAD";
        let id = connection.active().map_or(0, |active| active.id);
        match admin_http::order_of_path(&path, param(b"HTTP_ACCEPT")) {
            Some(order) => {
                let asked = Some(Question { order, id, with_body });
                return Some(FastCgiReply { bytes, asked });
            }
            None => append_answer(&mut bytes, id, &admin_http::probe(&path, condition), with_body),
        }
        connection.finish();
    }
}

/// The answer to the request of a FastCGI connection with this id.
fn append_answer(out: &mut Vec<u8>, id: u16, answer: &Answer, with_body: bool) {
    let Answer { status, content_type, body } = answer;
    let body = if with_body { body.as_str() } else { "" };
    let answer = format!("Status: {status}\r\nContent-Type: {content_type}\r\n\r\n{body}");
    encoder::append_stream(out, RecordType::STDOUT, id, answer.as_bytes());
    out.extend_from_slice(&encoder::end_answer(id, 0));
}
