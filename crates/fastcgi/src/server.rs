//! The serving end of a connection: what web servers send, as the events of one request at a time.
//! It must never know a socket, a thread, or what the application does with a request.

use std::ops::Range;

use crate::decoder::{Decoder, Piece};
use crate::encoder;
use crate::management::Capabilities;
use crate::params::{Collector, Params};
use crate::record::Header;
use crate::record_type::{ProtocolStatus, RecordType, Role};
use crate::{Limits, WireError};

/// One connection from a web server, used for one request after the other.
///
/// The caller owns the socket. It asks [`next`](Self::next) for events, reads into
/// [`spare`](Self::spare) when there is none, and writes the answer with [`encoder`]. Once it has
/// written END_REQUEST it calls [`finish`](Self::finish) and looks at
/// [`must_close`](Self::must_close).
#[derive(Debug)]
pub struct ServerConnection {
    decoder: Decoder,
    params: Collector,
    limits: Limits,
    capabilities: Capabilities,
    active: Option<Active>,
    /// What `Event::Reply` lends.
    reply: Vec<u8>,
    must_close: bool,
}

/// What the web server has said. Bytes are borrowed from the connection.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A request starts. To refuse it, write END_REQUEST with [`ProtocolStatus::Overloaded`] and
    /// call [`ServerConnection::finish`].
    Begin(Begin),
    /// The params are complete. [`ServerConnection::params`] has them until `finish`.
    Params(Params<'a>),
    /// The next bytes of the request body, never none.
    Stdin(&'a [u8]),
    /// The request body is complete.
    StdinEnd,
    /// The web server does not wait for the answer any more. END_REQUEST must still be written (FastCGI 1.0, 5.4); no
    /// other event of this request follows.
    Abort,
    /// These bytes must go to the web server now, before anything else and not inside a record.
    /// Look at [`ServerConnection::must_close`] afterwards. The request, if there is one, goes
    /// on.
    Reply(&'a [u8]),
}

/// The start of a request (FastCGI 1.0, 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// The id which every record of the answer must carry.
    pub id: u16,
    /// What is wanted; only roles in [`Capabilities`] get this far.
    pub role: Role,
    /// Whether the connection stays open after the answer.
    pub keep_conn: bool,
}

impl ServerConnection {
    /// A connection just accepted.
    pub fn new(limits: Limits, capabilities: Capabilities) -> Self {
        Self {
            decoder: Decoder::new(),
            params: Collector::default(),
            limits,
            capabilities,
            active: None,
            reply: Vec::new(),
            must_close: false,
        }
    }

    /// From now on params hold for one request alone: the web server is not ours, and what it says of
    /// params that many requests have in common is a param as any other.
    pub fn hold_no_params(&mut self) {
        self.params.hold_nothing();
    }

    /// At least `min` bytes to read(2) into; see [`Decoder::spare`].
    pub fn spare(&mut self, min: usize) -> &mut [u8] {
        self.decoder.spare(min)
    }

    /// Whether it has memory for reading.
    pub fn has_memory(&self) -> bool {
        self.decoder.has_memory()
    }

    /// Gives its memory for reading away, between two requests; see [`Decoder::take_memory`]. Memory that large params have
    /// needed is given back.
    pub fn take_memory(&mut self) -> Option<Vec<u8>> {
        if !self.is_idle() {
            return None;
        }
        self.params.shrink();
        self.decoder.take_memory()
    }

    /// Takes memory for reading; see [`Decoder::give_memory`].
    pub fn give_memory(&mut self, memory: Vec<u8>) {
        self.decoder.give_memory(memory);
    }

    /// The bytes of memory that what has come of a request takes.
    pub fn held(&self) -> usize {
        self.decoder.memory() + self.params.memory()
    }

    /// What has come and was not understood yet; see [`Decoder::unread`].
    pub fn unread(&self) -> &[u8] {
        self.decoder.unread()
    }

    /// Says how many bytes came; see [`Decoder::filled`], also for when it panics.
    pub fn filled(&mut self, count: usize) {
        self.decoder.filled(count);
    }

    /// The next event, or `None` when more bytes are needed.
    ///
    /// Records of a request that is not active pass silently (FastCGI 1.0, 3.3): the rest of a
    /// body that was not read, an abort that crossed our END_REQUEST, a request we refused.
    ///
    /// # Errors
    ///
    /// Any [`WireError`], and then the same for ever. The connection must be closed.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, WireError> {
        self.next_by(usize::MAX)
    }

    /// [`next`](Self::next) for a caller that has room for `most` bytes of a request body: an
    /// [`Event::Stdin`] has no more (but at least one), and the rest comes later.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    pub fn next_by(&mut self, most: usize) -> Result<Option<Event<'_>>, WireError> {
        let step = loop {
            let Some(piece) = self.decoder.advance_by(most)? else { return Ok(None) };
            let step = self.accept(piece).map_err(|error| self.decoder.fail(error))?;
            if let Some(step) = step {
                break step;
            }
        };
        Ok(Some(match step {
            Step::Begin(begin) => Event::Begin(begin),
            Step::Params => Event::Params(self.params.params()),
            Step::Stdin(range) => Event::Stdin(self.decoder.bytes(range)),
            Step::StdinEnd => Event::StdinEnd,
            Step::Abort => Event::Abort,
            Step::Reply => Event::Reply(&self.reply),
        }))
    }

    /// Whether the end of the request body is here, and nothing before it. What `CONTENT_LENGTH` says is
    /// another matter: an input filter of the web server may change the length, and then there is none.
    pub fn body_is_empty(&mut self) -> bool {
        let ends = |header: Header| {
            header.record_type == RecordType::STDIN
                && header.content_length == 0
                && self.active.is_some_and(|active| active.begin.id == header.id)
        };
        // What is wrong with the connection shows at its next use.
        self.decoder.upcoming().is_some_and(ends)
            && matches!(self.next(), Ok(Some(Event::StdinEnd)))
    }

    /// Whether it has come already, behind the request body, that the web server has aborted the active request.
    pub fn is_abort_next(&self) -> bool {
        let complete = self.active.filter(|active| matches!(active.phase, Phase::Complete));
        let next = self.decoder.upcoming().filter(|it| it.record_type == RecordType::ABORT_REQUEST);
        complete.zip(next).is_some_and(|(active, next)| active.begin.id == next.id)
    }

    /// The active request's params: all of them after [`Event::Params`], the whole pairs that
    /// have come before it, none when no request is active.
    pub fn params(&self) -> Params<'_> {
        self.params.params()
    }

    /// The params that the active request has in common with others on this connection, and a version
    /// number that changes with them. `None` for web servers other than ours, which send none.
    pub fn common_params(&self) -> Option<(u64, Params<'_>)> {
        self.params.common()
    }

    /// The request being served.
    pub fn active(&self) -> Option<Begin> {
        self.active.map(|active| active.begin)
    }

    /// Whether the web server has nothing more to send for the active request.
    pub fn input_is_complete(&self) -> bool {
        self.active.is_none_or(|active| matches!(active.phase, Phase::Complete | Phase::Aborted))
    }

    /// Says that END_REQUEST has been written for the active request.
    pub fn finish(&mut self) {
        if let Some(active) = self.active.take() {
            self.must_close |= !active.begin.keep_conn;
        }
        self.decoder.shrink();
        self.params.clear();
    }

    /// Whether the web server wants the connection closed now (FastCGI 1.0, 5.1), because it did
    /// not ask to keep it for the request that has just ended or been refused.
    pub fn must_close(&self) -> bool {
        self.must_close
    }

    /// Whether closing now loses nothing the web server has sent: no request is active and no
    /// byte of another is here.
    pub fn is_idle(&self) -> bool {
        self.active.is_none() && self.decoder.is_empty()
    }

    /// Says that the web server has closed its side. Not an error between requests, nor while we
    /// owe the answer to a request that was received completely.
    ///
    /// # Errors
    ///
    /// [`WireError::UnexpectedEof`] inside a request, or the error met before.
    pub fn end_of_input(&self) -> Result<(), WireError> {
        self.decoder.end_of_input()?;
        match self.active.map(|active| active.phase) {
            Some(Phase::Params) => Err(WireError::UnexpectedEof { during: "the params" }),
            Some(Phase::Stdin) => Err(WireError::UnexpectedEof { during: "a request body" }),
            Some(Phase::Complete | Phase::Aborted) | None => Ok(()),
        }
    }

    /// Forgets everything but the memory, for another connection.
    pub fn reset(&mut self) {
        self.decoder.reset();
        self.params.reset();
        self.active = None;
        self.must_close = false;
    }

    fn accept(&mut self, piece: Piece) -> Result<Option<Step>, WireError> {
        let record_type = piece.record_type;
        if piece.id == 0 {
            return self.manage(&piece).map(Some);
        }
        if record_type.is_management() {
            return Err(WireError::RequestIdNotZero { record_type, id: piece.id });
        }
        if record_type == RecordType::BEGIN_REQUEST {
            return self.begin(&piece).map(Some);
        }
        let Some(active) = self.active.as_mut().filter(|active| active.begin.id == piece.id) else {
            return Ok(None);
        };
        match (record_type, active.phase) {
            (_, Phase::Aborted) => Ok(None),
            (RecordType::ABORT_REQUEST, _) => {
                active.phase = Phase::Aborted;
                Ok(Some(Step::Abort))
            }
            (RecordType::PARAMS, Phase::Params) if piece.ends_stream() => {
                self.params.finish(&self.limits)?;
                active.phase = Phase::Stdin;
                Ok(Some(Step::Params))
            }
            (RecordType::PARAMS, Phase::Params) => {
                self.params.push(self.decoder.bytes(piece.range), &self.limits)?;
                Ok(None)
            }
            (RecordType::STDIN, Phase::Stdin) if piece.ends_stream() => {
                active.phase = Phase::Complete;
                Ok(Some(Step::StdinEnd))
            }
            (RecordType::STDIN, Phase::Stdin) => Ok(Some(Step::Stdin(piece.range))),
            _ if !record_type.is_application() => Err(WireError::UnknownType { record_type }),
            (_, phase) => Err(WireError::OutOfPlace { record_type, phase: phase.description() }),
        }
    }

    fn manage(&mut self, piece: &Piece) -> Result<Step, WireError> {
        let record_type = piece.record_type;
        if matches!(record_type.0, 1..=8) {
            return Err(WireError::RequestIdZero { record_type });
        }
        // To answer an answer could go on for ever.
        if matches!(record_type, RecordType::GET_VALUES_RESULT | RecordType::UNKNOWN_TYPE) {
            let phase = "only an application sends it";
            return Err(WireError::OutOfPlace { record_type, phase });
        }
        self.reply.clear();
        let content = self.decoder.bytes(piece.range.clone());
        self.capabilities.reply(record_type, content, &mut self.reply)?;
        Ok(Step::Reply)
    }

    fn begin(&mut self, piece: &Piece) -> Result<Step, WireError> {
        let id = piece.id;
        let &[role_high, role_low, flags, ..] = self.decoder.bytes(piece.range.clone()) else {
            let (record_type, length) = (RecordType::BEGIN_REQUEST, piece.range.len() as u16);
            return Err(WireError::BadContentLength { record_type, length, expected: 8 });
        };
        let keep_conn = flags & encoder::KEEP_CONN != 0;
        let refusal = match &self.active {
            Some(active) if active.begin.id == id => return Err(WireError::RequestIdInUse { id }),
            // The refused request's wish to close is not heard: another one is being served.
            Some(_) => ProtocolStatus::CantMpxConn,
            None => {
                let role = Role::from_wire(u16::from_be_bytes([role_high, role_low]));
                if let Some(role) = role.filter(|role| self.capabilities.supports_role(*role)) {
                    let begin = Begin { id, role, keep_conn };
                    self.active = Some(Active { begin, phase: Phase::Params });
                    return Ok(Step::Begin(begin));
                }
                self.must_close |= !keep_conn;
                ProtocolStatus::UnknownRole
            }
        };
        self.reply.clear();
        self.reply.extend_from_slice(&encoder::end_request(id, 0, refusal));
        Ok(Step::Reply)
    }
}

/// [`Event`] before anything is borrowed, so that a loop can pass over records.
#[derive(Debug)]
enum Step {
    Begin(Begin),
    Params,
    Stdin(Range<usize>),
    StdinEnd,
    Abort,
    Reply,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    begin: Begin,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Params,
    Stdin,
    Complete,
    Aborted,
}

impl Phase {
    fn description(self) -> &'static str {
        match self {
            Self::Params => "params have not ended",
            Self::Stdin => "params have ended",
            Self::Complete => "request body has ended",
            Self::Aborted => "request was aborted",
        }
    }
}
