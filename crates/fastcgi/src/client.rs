//! The requesting end of a connection: what an application sends back, piece by piece.
//! It must never know a socket, which worker is at the other end, or what an answer's head says.

use std::ops::Range;

use crate::decoder::{Decoder, Piece};
use crate::encoder;
use crate::extension::Extensions;
use crate::params::{PairList, ParamsWriter};
use crate::private::{self, COMMON_VARIABLES_NAME, FileSpan, Interim, LogLevel};
use crate::record_type::{ProtocolStatus, RecordType, Role};
use crate::{Limits, WireError};

/// One connection to an application, used for one request after the other.
///
/// The caller owns the socket. It writes what [`begin`](Self::begin) makes and then the body with
/// [`encoder`], under [`REQUEST_ID`](Self::REQUEST_ID). It asks [`next`](Self::next) for the
/// answer and reads into [`spare`](Self::spare) when there is none, until [`Answer::End`].
#[derive(Debug)]
pub struct ClientConnection {
    decoder: Decoder,
    limits: Limits,
    extensions: Extensions,
    keep_conn: bool,
    phase: Phase,
    heard: bool,
    /// The key of the common params that the application remembers.
    common_key: Vec<u8>,
}

/// What the application has said. Bytes are borrowed from the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The next bytes of the answer, head or body, never none.
    Stdout(&'a [u8]),
    /// The answer is complete; [`End`](Self::End) still follows. An application that was
    /// refused or that has nothing to say may leave this out.
    StdoutEnd,
    /// Bytes for the error log, never none; [`ErrorLines`](crate::ErrorLines) makes lines.
    Stderr(&'a [u8]),
    /// One line for the error log. It may hold any byte.
    Log {
        /// Its severity.
        level: LogLevel,
        /// The line, without its end.
        line: &'a [u8],
    },
    /// At this point of STDOUT comes a piece of a file.
    File(FileSpan),
    /// An interim response, or the application asks for the body.
    Interim(Interim<'a>),
    /// The request is over (FastCGI 1.0, 5.5).
    End {
        /// What exit(3) was for a CGI program.
        app_status: u32,
        /// Whether it was served at all.
        protocol_status: ProtocolStatus,
        /// How long the request has waited for a worker, in microseconds; 0 where the peer does not say.
        queue_time: u64,
    },
}

impl ClientConnection {
    /// The id of every request: with one at a time there is no use for a second.
    pub const REQUEST_ID: u16 = 1;

    /// A connection just made.
    pub fn new(limits: Limits) -> Self {
        Self {
            decoder: Decoder::new(),
            limits,
            extensions: Extensions::default(),
            keep_conn: false,
            phase: Phase::Idle,
            heard: false,
            common_key: Vec::new(),
        }
    }

    /// Starts a Responder request: appends BEGIN_REQUEST and the announcement of `extensions` to
    /// `out`. The caller adds the pairs, finishes the writer, and sends `out`.
    ///
    /// An answer that has not ended is forgotten, so this is for a new connection or one that
    /// [`is_reusable`](Self::is_reusable).
    pub fn begin<'a>(
        &mut self,
        out: &'a mut Vec<u8>,
        keep_conn: bool,
        extensions: Extensions,
    ) -> ParamsWriter<'a> {
        let mut params = self.open(out, keep_conn, extensions);
        for name in extensions.names() {
            params.pair(name.as_bytes(), b"1");
        }
        params
    }

    /// Starts a request to an application that knows our extensions: params that many requests have in
    /// common go over the wire once, and later requests refer to them. The announcement of `extensions`
    /// is among them.
    ///
    /// Equal `key`s stand for equal params: `encode` is called if the key is not that of the last request.
    pub fn begin_with_common_params<'a>(
        &mut self,
        out: &'a mut Vec<u8>,
        extensions: Extensions,
        key: &[u8],
        encode: impl FnOnce(&mut PairList),
    ) -> ParamsWriter<'a> {
        let mut params = self.open(out, true, extensions);
        if self.common_key == key && !key.is_empty() {
            params.pair(COMMON_VARIABLES_NAME, b"");
        } else {
            let mut common = PairList::new();
            encode(&mut common);
            params.pair(COMMON_VARIABLES_NAME, common.as_bytes().len().to_string().as_bytes());
            params.pairs(&common);
            self.common_key.clear();
            self.common_key.extend_from_slice(key);
        }
        params
    }

    fn open<'a>(
        &mut self,
        out: &'a mut Vec<u8>,
        keep_conn: bool,
        extensions: Extensions,
    ) -> ParamsWriter<'a> {
        self.extensions = extensions;
        self.keep_conn = keep_conn;
        self.phase = Phase::Answer;
        self.heard = false;
        let begin = encoder::begin_request(Self::REQUEST_ID, Role::Responder, keep_conn);
        out.extend_from_slice(&begin);
        ParamsWriter::new(out, Self::REQUEST_ID)
    }

    /// At least `min` bytes to read(2) into; see [`Decoder::spare`].
    pub fn spare(&mut self, min: usize) -> &mut [u8] {
        self.decoder.spare(min)
    }

    /// Says how many bytes came; see [`Decoder::filled`], also for when it panics.
    pub fn filled(&mut self, count: usize) {
        self.heard |= count > 0;
        self.decoder.filled(count);
    }

    /// The next piece of the answer, or `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// Any [`WireError`], and then the same for ever. The connection must be closed.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Answer<'_>>, WireError> {
        let step = loop {
            let Some(piece) = self.decoder.advance()? else { return Ok(None) };
            let step = self.accept(piece).map_err(|error| self.decoder.fail(error))?;
            if let Some(step) = step {
                break step;
            }
        };
        Ok(Some(match step {
            Step::Stdout(range) => Answer::Stdout(self.decoder.bytes(range)),
            Step::StdoutEnd => Answer::StdoutEnd,
            Step::Stderr(range) => Answer::Stderr(self.decoder.bytes(range)),
            Step::Log(level, range) => Answer::Log { level, line: self.decoder.bytes(range) },
            Step::File(span) => Answer::File(span),
            Step::Interim(range) => {
                let content = self.decoder.bytes(range);
                Answer::Interim(Interim::parse(content).unwrap_or(Interim::EarlyHints(&[])))
            }
            Step::End { app_status, protocol_status, queue_time } => {
                Answer::End { app_status, protocol_status, queue_time }
            }
        }))
    }

    /// Whether another request may be sent here: this one has ended, we had asked to keep the
    /// connection, and nothing unasked-for has come. A caller that stopped inside a STDIN record
    /// must close nevertheless; one that stopped between two need not.
    pub fn is_reusable(&self) -> bool {
        self.phase == Phase::Ended && self.keep_conn && self.decoder.is_empty()
    }

    /// Whether the response has ended, and nothing has come behind it.
    pub fn is_at_end(&self) -> bool {
        self.phase == Phase::Ended && self.decoder.is_empty()
    }

    /// Whether not one byte has come since [`begin`](Self::begin). If the connection breaks now
    /// and was used before, the application may simply have closed it for idleness.
    pub fn is_silent(&self) -> bool {
        !self.heard
    }

    /// The limits this connection was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Says that the application has closed the connection.
    ///
    /// # Errors
    ///
    /// [`WireError::UnexpectedEof`] unless the answer had ended, or the error met before.
    pub fn end_of_input(&self) -> Result<(), WireError> {
        self.decoder.end_of_input()?;
        match self.phase {
            Phase::Answer if self.is_silent() => {
                Err(WireError::UnexpectedEof { during: "a request, before any answer" })
            }
            Phase::Answer => Err(WireError::UnexpectedEof { during: "an answer" }),
            Phase::StdoutEnded => {
                Err(WireError::UnexpectedEof { during: "an answer, before END_REQUEST" })
            }
            Phase::Idle | Phase::Ended => Ok(()),
        }
    }

    /// Gives memory back that a large response has needed.
    pub fn shrink(&mut self) {
        self.decoder.shrink();
    }

    /// Forgets everything but the memory, for another connection.
    pub fn reset(&mut self) {
        self.decoder.reset();
        self.phase = Phase::Idle;
        self.heard = false;
        self.common_key.clear();
    }

    fn accept(&mut self, piece: Piece) -> Result<Option<Step>, WireError> {
        let record_type = piece.record_type;
        if piece.id == 0 {
            // We ask no questions, and what is said unasked we need not understand.
            return match record_type.is_application() {
                true => Err(WireError::RequestIdZero { record_type }),
                false => Ok(None),
            };
        }
        if record_type.is_management() {
            return Err(WireError::RequestIdNotZero { record_type, id: piece.id });
        }
        if piece.id != Self::REQUEST_ID {
            let (id, expected) = (piece.id, Self::REQUEST_ID);
            return Err(WireError::IdMismatch { record_type, id, expected });
        }
        match (record_type, self.phase) {
            (_, Phase::Idle | Phase::Ended) => Err(self.out_of_place(record_type)),
            (RecordType::STDOUT, Phase::Answer) if piece.ends_stream() => {
                self.phase = Phase::StdoutEnded;
                Ok(Some(Step::StdoutEnd))
            }
            (RecordType::STDOUT, Phase::Answer) => Ok(Some(Step::Stdout(piece.range))),
            // Its end says nothing that END_REQUEST does not say better.
            (RecordType::STDERR, _) if piece.ends_stream() => Ok(None),
            (RecordType::STDERR, _) => Ok(Some(Step::Stderr(piece.range))),
            (RecordType::LOG, _) if !self.extensions.log => {
                Err(WireError::NotAnnounced { record_type })
            }
            (RecordType::FILE, _) if !self.extensions.file => {
                Err(WireError::NotAnnounced { record_type })
            }
            (RecordType::LOG, _) => {
                let (level, line) = private::parse_log(self.decoder.bytes(piece.range.clone()))?;
                let range = piece.range.end - line.len()..piece.range.end;
                Ok(Some(Step::Log(level, range)))
            }
            (RecordType::INTERIM, _) if !self.extensions.interim => {
                Err(WireError::NotAnnounced { record_type })
            }
            (RecordType::FILE, Phase::Answer) => self.file(&piece),
            (RecordType::INTERIM, Phase::Answer) => {
                match Interim::parse(self.decoder.bytes(piece.range.clone())) {
                    Some(_) => Ok(Some(Step::Interim(piece.range))),
                    None => Err(WireError::BadInterim),
                }
            }
            (RecordType::END_REQUEST, _) => self.end(&piece),
            _ if !record_type.is_application() => Err(WireError::UnknownType { record_type }),
            _ => Err(self.out_of_place(record_type)),
        }
    }

    fn file(&self, piece: &Piece) -> Result<Option<Step>, WireError> {
        match FileSpan::parse(self.decoder.bytes(piece.range.clone())) {
            Some(span) => Ok(Some(Step::File(span))),
            None => Err(bad_length(piece, 16)),
        }
    }

    fn end(&mut self, piece: &Piece) -> Result<Option<Step>, WireError> {
        let &[a, b, c, d, status, ref reserved @ ..] = self.decoder.bytes(piece.range.clone())
        else {
            return Err(bad_length(piece, 8));
        };
        let Some(protocol_status) = ProtocolStatus::from_wire(status) else {
            return Err(WireError::BadProtocolStatus { status });
        };
        let queue_time = reserved.first_chunk().copied().map_or(0, private::queue_time_from_wire);
        self.phase = Phase::Ended;
        let app_status = u32::from_be_bytes([a, b, c, d]);
        Ok(Some(Step::End { app_status, protocol_status, queue_time }))
    }

    fn out_of_place(&self, record_type: RecordType) -> WireError {
        let phase = match self.phase {
            Phase::Idle => "no request was sent",
            Phase::Answer => "only a web server sends it",
            Phase::StdoutEnded => "the answer's STDOUT has ended",
            Phase::Ended => "the answer has ended",
        };
        WireError::OutOfPlace { record_type, phase }
    }
}

/// [`Answer`] before anything is borrowed, so that a loop can pass over records.
#[derive(Debug)]
enum Step {
    Stdout(Range<usize>),
    StdoutEnd,
    Stderr(Range<usize>),
    Log(LogLevel, Range<usize>),
    File(FileSpan),
    Interim(Range<usize>),
    End { app_status: u32, protocol_status: ProtocolStatus, queue_time: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Answer,
    StdoutEnded,
    Ended,
}

/// Unreachable in practice, as [`Header::parse`](crate::Header::parse) knows these lengths; an
/// error all the same, since the bytes are the peer's.
fn bad_length(piece: &Piece, expected: u16) -> WireError {
    let (record_type, length) = (piece.record_type, piece.range.len() as u16);
    WireError::BadContentLength { record_type, length, expected }
}
