//! One WebSocket from its acceptance to its end, over a stream on which nothing waits. It never knows how a frame is read or
//! written.
#![forbid(unsafe_code)]

use crate::worker::asgi::slots::{Interest, SocketPlace};
use crate::worker::asgi::websocket::inbox::Inbox;
use crate::worker::asgi::websocket::opening::Opening;
use crate::worker::asgi::websocket::stream::Stream;
use crate::worker::connection::Socket;
use crate::worker::pool::Pool;
use host::{AsgiSocket, Received, Sent, SocketMessage};
use scoreboard::{Field, now};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use websocket::{Compression, Frames, Incoming, Written};
use wsgi::{Level, SendError};

/// Bytes that are passed over at once once nothing is to be said any more.
const READ: usize = 4 * 1024;
/// Messages that are read before other WebSockets have their turn.
const BATCH: usize = 64;
/// Answers to pings that are kept while there is no room for them; then nothing more is read, or a client that sends
/// pings and reads nothing would fill the memory.
const MAX_KEPT_PONGS: usize = 512;
/// How long Apache may take to send the 101.
const OPENING_LIMIT: Duration = Duration::from_secs(60);
/// How long the client may take to answer a close (RFC 6455, 7.1.1).
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// And how long after that to close its connection.
const LINGER_LIMIT: Duration = Duration::from_secs(2);
/// Codes of a close (RFC 6455, 7.4.1, and the registry of IANA): the server cannot go on, and the server restarts.
const INTERNAL_ERROR: u16 = 1011;
const RESTART: u16 = 1012;
/// How often to look where nothing is due.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// A WebSocket.
pub(crate) struct OpenSocket {
    pool: Arc<Pool>,
    place: SocketPlace,
    /// Whether it keeps the worker from being idle (`WSGIIgnoreActivity`).
    is_activity: bool,
    /// `None` once it is over.
    stream: Option<Stream>,
    frames: Frames,
    compression: Option<Compression>,
    state: State,
    inbox: Inbox,
    /// The client has got its 101.
    has_opened: bool,
    /// What the application is told of the end.
    closed: Option<(u16, String)>,
    /// The stream is among those that the loop's epoll instance knows.
    is_watched: bool,
    /// The client has gone while nothing was read: what it has sent before is read when there is room.
    is_gone: bool,
    /// More may have been read than there was a turn for.
    has_more: bool,
    /// The client has shown since the last ping that it lives.
    heard: bool,
    next_ping: Option<Instant>,
    /// When [`AsgiSocket::tick`] will be called next.
    next_tick: Option<Instant>,
}

enum State {
    Opening(Opening, Instant),
    Open,
    /// One end has sent its close; the other one has until then.
    Closing(Instant),
    /// Nothing more is sent; until then what still comes is passed over.
    Lingering(Instant),
    Over,
}

/// What a WebSocket begins with.
pub(crate) struct Start {
    pub(crate) place: SocketPlace,
    /// Whether it keeps the worker from being idle.
    pub(crate) is_activity: bool,
    pub(crate) connection: Arc<Socket>,
    /// What its 101 says of compression.
    pub(crate) compression: Option<Compression>,
    /// The connection is among those that the loop's epoll instance knows.
    pub(crate) is_watched: bool,
    /// What the connection has not taken of the response.
    pub(crate) unsent: Vec<u8>,
}

impl OpenSocket {
    pub(crate) fn new(pool: &Arc<Pool>, start: Start) -> Self {
        let Start { place, is_activity, connection, compression, is_watched, unsent } = start;
        let mut it = Self {
            pool: Arc::clone(pool),
            place,
            is_activity,
            stream: Some(Stream::tunnel(connection)),
            frames: frames(pool, Vec::new(), compression),
            compression,
            state: State::Opening(Opening::new(unsent), Instant::now() + OPENING_LIMIT),
            inbox: Inbox::default(),
            has_opened: false,
            closed: None,
            is_watched,
            is_gone: false,
            has_more: false,
            heard: true,
            next_ping: None,
            next_tick: None,
        };
        it.rearm();
        it.tell_open_sockets();
        it
    }

    /// Tells Apache how many WebSockets this process has open, by which it chooses among processes that are as busy.
    fn tell_open_sockets(&self) {
        if let Some(slots) = &self.pool.asgi {
            self.pool.record.set(Field::Sockets, slots.open_sockets() as u64);
        }
    }

    fn ping_interval(&self) -> Option<Duration> {
        self.pool.config.asgi.websocket_ping_interval.filter(|interval| !interval.is_zero())
    }

    /// Waits for Apache's word.
    fn open(&mut self) {
        let (State::Opening(opening, _), Some(stream)) = (&mut self.state, &self.stream) else {
            return;
        };
        match opening.advance(stream.as_fd()) {
            Ok(None) => {}
            Ok(Some(opened)) => {
                self.frames = frames(&self.pool, opened.early, self.compression);
                if let Some(client) = opened.client {
                    self.forget();
                    self.stream = Some(Stream::client(client));
                }
                self.state = State::Open;
                self.has_opened = true;
                self.next_ping = self.ping_interval().map(|interval| Instant::now() + interval);
                self.read();
            }
            Err(why) => {
                if why.kind() != io::ErrorKind::UnexpectedEof {
                    let line = format!("WSGI0234: a WebSocket cannot be opened: {why}");
                    self.pool.log.write(Level::Warning, line.as_bytes());
                }
                self.lose();
            }
        }
    }

    /// Whether there is room for what the client sends.
    fn has_room(&self) -> bool {
        match self.state {
            State::Open => self.inbox.has_room() && self.frames.kept_pongs() < MAX_KEPT_PONGS,
            _ => true,
        }
    }

    /// Reads what there is room for.
    fn read(&mut self) {
        self.has_more = false;
        self.begin_turn();
        for _ in 0..BATCH {
            let is_reading =
                self.has_room() && matches!(self.state, State::Open | State::Closing(_));
            let Some(stream) = self.stream.as_mut().filter(|_| is_reading) else { return };
            let read = self.frames.read(stream);
            // One frame may take longer than the time between two pings.
            self.heard |= stream.take_received();
            if !self.take(read) {
                return;
            }
        }
        self.has_more = true;
    }

    /// What is beyond a turn is left in the kernel, which reports it again.
    const fn begin_turn(&mut self) {
        if let Some(stream) = self.stream.as_mut() {
            stream.begin_turn();
        }
    }

    /// Takes what one read has given; whether there may be more.
    fn take(&mut self, incoming: Incoming) -> bool {
        let is_open = matches!(self.state, State::Open);
        match incoming {
            Incoming::Text(text) if is_open => self.keep(Received::Text(text)),
            Incoming::Bytes(bytes) if is_open => self.keep(Received::Bytes(bytes)),
            Incoming::Text(_) | Incoming::Bytes(_) | Incoming::Ping | Incoming::Pong => {}
            Incoming::Close { code, reason } => self.note_close(code, reason),
            Incoming::Nothing => {
                self.note_end();
                return false;
            }
            Incoming::Over => {
                self.linger();
                return false;
            }
            Incoming::Wrong { code, reason } if is_open => {
                self.fail(code, reason);
                return false;
            }
            Incoming::Wrong { .. } | Incoming::Lost => {
                self.lose();
                return false;
            }
        }
        true
    }

    /// Keeps a message for the application.
    fn keep(&mut self, message: Received) {
        self.pool.board.counters().note_message_received();
        self.inbox.push(message);
    }

    /// The client closes, or answers a close.
    fn note_close(&mut self, code: u16, reason: String) {
        self.closed.get_or_insert((code, reason));
        if matches!(self.state, State::Open) {
            self.state = State::Closing(Instant::now() + CLOSE_LIMIT);
        }
    }

    /// Whether the stream has ended without a close. A web server that is about to end does that, and carries on what is
    /// still sent: the page is to connect anew.
    fn note_end(&mut self) {
        let Some(stream) = self.stream.as_ref().filter(|stream| stream.has_ended()) else { return };
        let is_tunnel = stream.is_tunnel();
        self.closed.get_or_insert((1006, String::new()));
        if is_tunnel && matches!(self.state, State::Open) {
            self.send_close(RESTART, "");
            self.linger();
        } else {
            self.lose();
        }
    }

    /// Ends it for what the client has sent.
    fn fail(&mut self, code: u16, reason: &'static str) {
        self.closed.get_or_insert((code, reason.to_owned()));
        self.send_close(code, reason);
        self.linger();
    }

    fn send_close(&mut self, code: u16, reason: &str) {
        if let Some(stream) = self.stream.as_mut() {
            let written = self.frames.close(stream, code, reason);
            self.note_written(written);
        }
    }

    /// An end shows at the next read.
    fn note_written(&mut self, written: Written) {
        if written == Written::Lost {
            self.lose();
        }
    }

    /// Whether there was no room for some of what was sent.
    const fn is_blocked(&self) -> bool {
        self.stream.is_some() && self.frames.is_blocked()
    }

    fn send_kept(&mut self) {
        let was_blocked = self.is_blocked();
        if let Some(stream) = self.stream.as_mut() {
            stream.take_sent();
            let written = self.frames.flush(stream);
            // Where there was no room, room is a sign that the client reads.
            self.heard |= was_blocked && stream.take_sent();
            self.note_written(written);
        }
    }

    /// Nothing more is said: the connection ends when the client ends it, or after a while.
    fn linger(&mut self) {
        if !matches!(self.state, State::Over) {
            self.closed.get_or_insert((1006, String::new()));
            self.state = State::Lingering(Instant::now() + LINGER_LIMIT);
            self.pass_over();
        }
    }

    /// Sends the rest, then reads up to the end.
    fn pass_over(&mut self) {
        if self.is_blocked() {
            self.send_kept();
        }
        self.begin_turn();
        let Some(stream) = self.stream.as_mut() else { return };
        if !self.frames.is_blocked() {
            stream.end_output();
        }
        let mut bytes = [0; READ];
        for _ in 0..BATCH {
            match io::Read::read(stream, &mut bytes) {
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    let is_over = stream.has_ended() && !self.frames.is_blocked();
                    if is_over {
                        self.lose();
                    }
                    return;
                }
                Err(_) => return self.lose(),
            }
        }
        self.has_more = true;
    }

    /// It is over, at once.
    fn lose(&mut self) {
        self.closed.get_or_insert((1006, String::new()));
        self.state = State::Over;
        self.forget();
        self.stream = None;
        if self.is_activity && !self.place.has_ended() {
            // Before it counts as closed, or the worker would seem idle since the handshake.
            self.pool.record.set(Field::LastRequest, now());
        }
        self.place.note_end();
        self.tell_open_sockets();
        if self.pool.connections.is_draining() {
            self.pool.wake_main_thread();
        }
    }

    /// Waits for nothing on the stream any more.
    fn forget(&mut self) {
        if let (true, Some(stream), Some(slots)) = (self.is_watched, &self.stream, &self.pool.asgi)
        {
            slots.forget(stream.as_fd());
        }
        self.is_watched = false;
    }

    /// Has the next thing that happens reported.
    fn rearm(&mut self) {
        let (Some(stream), Some(slots)) = (&self.stream, &self.pool.asgi) else { return };
        let input = self.has_room();
        if self.is_gone && !input {
            // Its end would be reported again and again, whatever is asked for.
            return;
        }
        let output = match &self.state {
            State::Opening(opening, _) => opening.has_unsent(),
            // What has been read already is reported by nothing else than room to write.
            _ => self.is_blocked() || self.has_more,
        };
        // An end that is known, or that is not read for now, would be reported again and again.
        let end = !stream.has_ended() && (input || !sys::is_shut_down(stream.as_fd()));
        let interest = Interest { input: input && !stream.has_ended(), output, end };
        match slots.watch(stream.as_fd(), self.place.number(), interest, self.is_watched) {
            Ok(()) => self.is_watched = true,
            Err(why) => {
                let line = format!("cannot wait for a WebSocket: {why}");
                self.pool.log.write(Level::Error, line.as_bytes());
                self.lose();
            }
        }
    }

    fn advance(&mut self) {
        match self.state {
            State::Opening(..) => self.open(),
            State::Open | State::Closing(_) => {
                if self.is_blocked() {
                    self.send_kept();
                }
                self.read();
            }
            State::Lingering(_) => self.pass_over(),
            State::Over => {}
        }
    }

    /// Notes that the client has gone where nothing is read that would show it.
    fn note_gone(&mut self) {
        let is_gone = !self.has_room() && self.stream.as_ref().is_some_and(|it| it.is_gone());
        if is_gone && self.is_blocked() {
            // No room will come.
            self.lose();
        }
        self.is_gone |= is_gone;
    }

    fn outcome(&self) -> Result<Sent, SendError> {
        match self.state {
            State::Opening(..) => Ok(Sent::Kept),
            State::Open if self.is_blocked() => Ok(Sent::Kept),
            State::Open => Ok(Sent::All),
            _ => Err(SendError::Disconnected),
        }
    }

    /// When something is to be done without an event.
    const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Opening(_, until) | State::Closing(until) | State::Lingering(until) => {
                Some(until)
            }
            State::Open => self.next_ping,
            State::Over => None,
        }
    }

    /// Asks the client whether it is there, or gives up one that has not answered.
    fn ping(&mut self, now: Instant) {
        let Some(interval) = self.ping_interval() else { return };
        if self.next_ping.is_none_or(|due| now < due) {
            return;
        }
        self.next_ping = Some(now + interval);
        if self.is_blocked() {
            // A ping would stand behind what is kept; a slow client shows by what it takes that it lives.
            self.send_kept();
        }
        // What has come cannot be known while the application leaves no room for it.
        let is_known = self.is_blocked() || self.has_room();
        if is_known && !std::mem::replace(&mut self.heard, false) {
            return self.fail(INTERNAL_ERROR, "no answer to a ping");
        }
        if let (Some(stream), false) = (self.stream.as_mut(), self.frames.is_blocked()) {
            let written = self.frames.ping(stream);
            self.note_written(written);
        }
    }
}

impl AsgiSocket for OpenSocket {
    fn progress(&mut self) {
        self.advance();
        self.note_gone();
        self.rearm();
    }

    fn receive(&mut self) -> Received {
        let mut next = self.inbox.pop();
        if next.is_some() && matches!(self.state, State::Open) {
            // There is room again.
            self.advance();
            self.rearm();
            if !matches!(self.state, State::Open)
                && let Some(message) = next.take()
            {
                self.inbox.put_back(message);
                return Received::Ending;
            }
        }
        match (next, &self.closed) {
            (Some(message), _) => message,
            (None, Some((code, reason))) => {
                Received::Closed { code: *code, reason: reason.clone() }
            }
            (None, None) => Received::Nothing,
        }
    }

    fn send(&mut self, message: SocketMessage<'_>) -> Result<Sent, SendError> {
        let (State::Open, Some(stream)) = (&self.state, self.stream.as_mut()) else {
            return Err(SendError::Disconnected);
        };
        let written = match message {
            SocketMessage::Text(text) => self.frames.send_text(stream, text),
            SocketMessage::Bytes(bytes) => self.frames.send_bytes(stream, bytes),
        };
        self.note_written(written);
        if written != Written::Lost {
            self.pool.board.counters().note_message_sent();
        }
        if self.is_blocked() {
            self.rearm();
        }
        self.outcome()
    }

    fn flush(&mut self) -> Result<Sent, SendError> {
        if self.is_blocked() && matches!(self.state, State::Open) {
            self.send_kept();
        }
        if self.is_blocked() {
            self.rearm();
        }
        self.outcome()
    }

    fn close(&mut self, code: u16, reason: &str) {
        match self.state {
            State::Open => {
                self.closed.get_or_insert((code, reason.to_owned()));
                self.state = State::Closing(Instant::now() + CLOSE_LIMIT);
                self.send_close(code, reason);
                // The answer may have been read already, behind messages for which there was no room.
                self.has_more |= !self.inbox.has_room();
                self.rearm();
            }
            // The client has no frame to be told with.
            State::Opening(..) => self.lose(),
            _ => {}
        }
    }

    fn tick(&mut self) -> Duration {
        let now = Instant::now();
        match self.state {
            State::Open => {
                self.ping(now);
                self.rearm();
            }
            _ if self.due().is_some_and(|due| due <= now) => self.lose(),
            _ => {}
        }
        let left = self.due().map_or(IDLE_TICK, |due| due.saturating_duration_since(now));
        self.next_tick = Some(now + left);
        left
    }

    fn is_due_earlier(&self) -> bool {
        matches!((self.due(), self.next_tick), (Some(due), Some(next)) if due < next)
    }

    fn has_opened(&self) -> Option<bool> {
        match self.state {
            State::Opening(..) => None,
            _ => Some(self.has_opened),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.is_some() || self.is_gone
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        if !sys::in_forked_child() {
            self.lose();
        }
    }
}

/// What reads and writes frames; `early` has come already.
fn frames(pool: &Pool, early: Vec<u8>, compression: Option<Compression>) -> Frames {
    let most = pool.config.asgi.websocket_max_message;
    let most = (most > 0).then(|| usize::try_from(most).unwrap_or(usize::MAX));
    Frames::new(early, most, compression)
}
