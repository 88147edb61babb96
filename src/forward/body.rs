//! The request body on its way to a worker, and as much of it as is kept to be sent again. It must never know the
//! worker.
#![forbid(unsafe_code)]

use super::spool::{SpoolError, SpoolFile};
use crate::failure_flag::{Flag, Note};
use crate::httpd::{Outcome, Request, RequestBody};
use std::sync::atomic::{AtomicBool, Ordering};
use wsgi::{Level, ReadError};

/// Bytes of a body that are kept in memory. A body whose `Content-Length` is no more is read before a worker is chosen,
/// whatever the configuration says.
const MEMORY_LIMIT: usize = 64 * 1024;
/// Bytes of a longer body that are passed on at once: httpd keeps memory for so many of them with each connection.
const PIECE: usize = 112 * 1024;
/// The same once [`LONG`] bytes of a body have been passed on. Each piece wakes the worker, so that fewer of them cost less;
/// this is as much as an empty socket has room for, in httpd's buffers of 8,000 bytes.
const LONG_PIECE: usize = 24 * 8000;
const LONG: usize = 8 << 20;
/// Bytes that are written to a file or read from it at once.
const FILE_PIECE: usize = 64 * 1024;

/// The body of a request.
pub(super) struct Body<'call> {
    reader: RequestBody<'call>,
    /// The first bytes, up to [`MEMORY_LIMIT`], until they are of no use any more.
    kept: Vec<u8>,
    /// What follows them, as far as it was gathered before a worker was chosen.
    gathered: Option<Box<Gathered>>,
    /// Whether all that has been read is kept.
    replayable: bool,
    /// How much is read before any of it is passed on; 0 where the rest comes while the worker reads.
    gathers: u64,
    /// How many bytes have been passed on of which none is kept.
    streamed: usize,
    /// What is being passed on.
    piece: Piece,
    /// The first bytes for which there is to be memory: all of a short body, and the place where its end shows.
    first: usize,
    ended: bool,
    /// The client waits for `100 Continue`, and nothing is read before the application asks for it.
    withheld: bool,
}

/// A piece of a body, by the place where it lies.
enum Piece {
    /// What is kept, from this byte on.
    Kept(usize),
    /// What has been read of the file.
    File,
    /// In httpd's buffers.
    Buffers,
}

/// Bytes of a body in a file.
struct Gathered {
    file: SpoolFile,
    length: u64,
    /// How many of them have been passed on to the worker of today.
    sent: u64,
    /// The piece that is being passed on.
    piece: Vec<u8>,
}

/// Why a body is not gathered.
pub(super) enum GatherError {
    /// It cannot be read.
    Read(ReadError),
    /// It cannot be kept.
    Spool(SpoolError),
}

impl From<ReadError> for GatherError {
    fn from(why: ReadError) -> Self {
        Self::Read(why)
    }
}

impl From<SpoolError> for GatherError {
    fn from(why: SpoolError) -> Self {
        Self::Spool(why)
    }
}

impl Gathered {
    fn create() -> Result<Self, SpoolError> {
        Ok(Self { file: SpoolFile::create(None)?, length: 0, sent: 0, piece: Vec::new() })
    }

    fn add(&mut self, slices: &[&[u8]]) -> Result<(), SpoolError> {
        self.length += self.file.write_slices_at(self.length, slices)?;
        Ok(())
    }

    const fn is_sent(&self) -> bool {
        self.sent == self.length
    }

    /// Reads the next piece to pass on.
    fn read_piece(&mut self) -> Result<(), SpoolError> {
        let length = (self.length - self.sent).min(FILE_PIECE as u64);
        self.piece.resize(usize::try_from(length).unwrap_or(FILE_PIECE), 0);
        self.file.read_at(self.sent, &mut self.piece)?;
        self.sent += length;
        Ok(())
    }
}

impl<'call> Body<'call> {
    /// The body of `request`. One of a known length of `limit` bytes or less is gathered, unless its client waits for
    /// `100 Continue`: it may be that the application does not want it. With `may_withhold` nothing at all is read of such a
    /// body before the worker says that it does.
    pub(super) fn new(request: &Request<'call>, limit: u64, may_withhold: bool) -> Self {
        let headers = request.headers_in();
        let length = match headers.get(c"Transfer-Encoding") {
            Some(_) => None,
            None => headers.get(c"Content-Length").map_or(Some(0), |length| {
                std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok())
            }),
        };
        let reader = RequestBody::new(request);
        let gathers = match length {
            Some(length) if length <= MEMORY_LIMIT as u64 => MEMORY_LIMIT as u64,
            // The first part of a longer one would not spare the worker the wait for the rest.
            Some(length) if length <= limit && !request.expects_continue() => limit,
            _ => 0,
        };
        let ended = length == Some(0) || reader.has_ended();
        Self {
            kept: Vec::new(),
            gathered: None,
            replayable: true,
            withheld: may_withhold && !ended && request.expects_continue(),
            gathers,
            streamed: 0,
            piece: Piece::Kept(0),
            first: length
                .and_then(|length| usize::try_from(length).ok()?.checked_add(1))
                .map_or(MEMORY_LIMIT, |length| length.min(MEMORY_LIMIT)),
            ended,
            reader,
        }
    }

    /// Whether nothing is read, because the client waits for `100 Continue` and the application has not asked for the body.
    pub(super) const fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// The application asks for the body: from now on it is read. The client is told, unless the response has begun.
    pub(super) fn release(&mut self, request: &mut Request<'call>, has_response: bool) {
        if std::mem::take(&mut self.withheld) && !has_response {
            request.send_continue();
        }
    }

    /// Whether all of the body has been read and passed on.
    pub(super) fn has_ended(&self) -> bool {
        self.ended && self.gathered.as_ref().is_none_or(|gathered| gathered.is_sent())
    }

    /// Whether all of the body has been read and can be sent again.
    pub(super) const fn is_complete(&self) -> bool {
        self.ended && self.replayable
    }

    /// Begins to pass the body on, or begins anew.
    pub(super) fn begin(&mut self) {
        self.gathered.iter_mut().for_each(|gathered| gathered.sent = 0);
        self.piece = Piece::Kept(0);
    }

    /// The bytes that are passed on first.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// The bytes that are being passed on, wherever they lie: what is kept at first, then what [`Self::advance`] has
    /// found. They stay there until it is called again, for a socket that has no room for all of them.
    pub(super) fn piece(&self) -> Result<Vec<&[u8]>, ReadError> {
        match self.piece {
            Piece::Kept(start) => Ok(vec![self.kept.get(start..).unwrap_or_default()]),
            Piece::File => Ok(self.gathered.iter().map(|it| it.piece.as_slice()).collect()),
            Piece::Buffers => self.reader.slices(),
        }
    }

    /// Whether all that has been read is kept.
    pub(super) const fn is_replayable(&self) -> bool {
        self.replayable
    }

    /// Reads what is to be there before a worker is chosen.
    pub(super) fn fill(&mut self, request: &mut Request<'call>) -> Result<(), GatherError> {
        if self.withheld {
            return Ok(());
        }
        while !self.ended && self.kept.len() < MEMORY_LIMIT {
            // httpd sends `100 Continue` only where a read waits.
            let waits = (self.kept.len() as u64) < self.gathers
                || self.kept.is_empty() && request.expects_continue();
            if self.read(request, waits)?.is_none() {
                break;
            }
        }
        self.gather(request)
    }

    /// Reads what there is no room for in memory into a file.
    fn gather(&mut self, request: &mut Request<'call>) -> Result<(), GatherError> {
        let mut length = self.kept.len() as u64;
        let mut first = Vec::new();
        while !self.ended && length < self.gathers {
            let gathered = match &mut self.gathered {
                Some(gathered) => gathered,
                none => match Gathered::create() {
                    Ok(gathered) => none.insert(Box::new(gathered)),
                    Err(why) if why.is_shortage() => return Err(why.into()),
                    Err(why) => {
                        log_streamed(request, &why);
                        return Ok(());
                    }
                },
            };
            if self.reader.read_without_copy(request, FILE_PIECE)?.is_some() {
                gathered.add(&self.reader.slices()?)?;
                self.ended = self.reader.has_ended();
            } else {
                first.resize(8 * 1024, 0);
                let count = self.reader.read(request, &mut first)?;
                gathered.add(&[first.get(..count).unwrap_or_default()])?;
                self.ended = count == 0 || self.reader.has_ended();
            }
            length = self.kept.len() as u64 + gathered.length;
        }
        Ok(())
    }

    /// An input filter that changes the length of a body takes `Content-Length` away (mod_deflate). If all of
    /// the body has been read, its true length is known, and applications that go by `CONTENT_LENGTH` find it.
    pub(super) fn set_content_length(&self, request: &Request<'call>) {
        if self.gathers > 0 && self.ended && !self.kept.is_empty() {
            let rest = self.gathered.as_ref().map_or(0, |gathered| gathered.length);
            request.declare_length(self.kept.len() as u64 + rest);
        }
    }

    /// Goes on to the next piece, if it is there; whether it is. Never waits.
    pub(super) fn advance(&mut self, request: &mut Request<'call>) -> Result<bool, ReadError> {
        if let Some(gathered) = self.gathered.as_mut().filter(|gathered| !gathered.is_sent()) {
            gathered.read_piece().map_err(|why| ReadError::Other(why.to_string()))?;
            self.piece = Piece::File;
            return Ok(true);
        }
        if !self.replayable || self.gathered.is_some() || self.kept.len() >= MEMORY_LIMIT {
            self.replayable = false;
            (self.kept, self.gathered) = (Vec::new(), None);
            self.piece = Piece::Buffers;
            let most = if self.streamed < LONG { PIECE } else { LONG_PIECE };
            let Some(count) = self.reader.read_without_copy(request, most)? else {
                return Ok(false);
            };
            self.streamed += count;
            self.ended = self.reader.has_ended();
            return Ok(true);
        }
        self.piece = Piece::Kept(self.kept.len());
        Ok(self.read(request, false)?.is_some())
    }

    /// Reads once, up to the limit, and keeps what came; `None` where nothing is there and `waits` is not set.
    fn read(&mut self, request: &mut Request<'call>, waits: bool) -> Result<Option<()>, ReadError> {
        let before = self.kept.len();
        let room = if before < self.first { self.first } else { MEMORY_LIMIT };
        self.kept.resize(room, 0);
        let room = self.kept.get_mut(before..).unwrap_or_default();
        let read = if waits {
            self.reader.read_all_there_is(request, room).map(Some)
        } else {
            self.reader.read_now(request, room)
        };
        let count = read.as_ref().map_or(0, |count| count.unwrap_or(0));
        self.kept.truncate(before + count);
        if read?.is_none() {
            return Ok(None);
        }
        self.ended = count == 0 || self.reader.has_ended();
        Ok(Some(()))
    }
}

/// There is no place for bodies, as in a container that may not be written to: the worker gets this one as it comes.
fn log_streamed(request: &Request<'_>, why: &SpoolError) {
    static LOGGED: AtomicBool = AtomicBool::new(false);
    let level = if LOGGED.swap(true, Ordering::Relaxed) { Level::Debug } else { Level::Warning };
    let line = format!(
        "WSGI0221: request bodies are not gathered, and slow clients hold threads of daemon processes: {why}"
    );
    request.log(level, line.as_bytes());
}

/// Answers a request whose body has not been gathered.
pub(super) fn refuse_gathering(request: &mut Request<'_>, why: &GatherError) -> Outcome {
    let why = match why {
        GatherError::Read(why) => return refuse_body(request, why),
        GatherError::Spool(why) => why,
    };
    request.give_up_body();
    Flag::RequestBody.note();
    let line =
        format!("WSGI0221: the request body cannot be kept until all of it is here: {why} [RB]");
    request.log(Level::Error, line.as_bytes());
    Outcome::Status(503)
}

/// Answers a request whose body cannot be read.
pub(super) fn refuse_body(request: &mut Request<'_>, why: &ReadError) -> Outcome {
    request.give_up_body();
    let flag = if *why == ReadError::Disconnected { Flag::ClientLeft } else { Flag::RequestBody };
    flag.note();
    let line = format!("WSGI0126: the request body cannot be read: {why} [{}]", flag.code());
    let level = if matches!(why, ReadError::Other(_)) { Level::Error } else { Level::Debug };
    request.log(level, line.as_bytes());
    Outcome::Status(why.status())
}
