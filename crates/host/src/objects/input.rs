//! `wsgi.input` (PEP 3333, "Input and Error Streams").

use crate::cpython::{
    Arguments, Attached, Class, ExceptionKind, Instance, Method, Object, Raised, Result, Slots,
};
use crate::gateway::lease::Lease;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wsgi::ReadError;

/// The request body. Its end is the transport's, not that of `CONTENT_LENGTH`
/// (`wsgi.input_terminated`).
pub(crate) struct Input {
    lease: Arc<Lease>,
    /// Bytes that were read but not yet asked for, from `start` on.
    buffer: Mutex<ReadBuffer>,
}

#[derive(Default)]
struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    ended: bool,
}

/// How many bytes are read at once by `read()` without a size.
const READ_SIZE: usize = 64 * 1024;
/// Up to this many bytes `read(n)` allocates its result at once; beyond, as the data arrives.
const MAX_PREALLOCATED: usize = 1024 * 1024;

impl Input {
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self { lease, buffer: Mutex::default() }
    }
}

impl Class for Input {
    const NAME: &'static CStr = c"mod_wsgi.Input";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: c"close", call: close },
        Method { name: c"read", call: read },
        Method { name: c"readline", call: readline },
        Method { name: c"readlines", call: readlines },
    ];
    const SLOTS: Slots<Self> = Slots { next: Some(next), ..Slots::NONE };
}

type This<'a, 'py> = Instance<'a, 'py, Input>;

fn close<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("close", 0, 0)?;
    this.live_request("close")?;
    Ok(this.py().none())
}

fn read<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let size = size_argument(arguments, "read")?;
    this.live_request("read")?;
    let py = this.py();
    match size {
        Some(size) if size <= MAX_PREALLOCATED => py.bytes_with(size, |py, into| {
            let had = this.take_buffered(into);
            let Some(rest) = into.get_mut(had..) else { return Ok(had) };
            this.fill(py, rest, "read").map(|more| had + more)
        })?,
        size => {
            let limit = size.unwrap_or(usize::MAX);
            let step =
                |length: usize| length.clamp(READ_SIZE, MAX_PREALLOCATED).min(limit - length);
            // Not copied in the end: that would take the memory of the body twice.
            py.growing_bytes(READ_SIZE, step, |py, into| {
                let had = this.take_buffered(into);
                let Some(rest) = into.get_mut(had..) else { return Ok(had) };
                this.fill(py, rest, "read").map(|more| had + more)
            })?
        }
    }
}

fn readline<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let size = size_argument(arguments, "readline")?;
    this.live_request("readline")?;
    this.line(size.unwrap_or(usize::MAX), "readline")
}

fn readlines<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let hint = size_argument(arguments, "readlines")?.filter(|&hint| hint > 0);
    this.live_request("readlines")?;
    let lines = this.py().list()?;
    let mut total = 0;
    loop {
        let line = this.line(usize::MAX, "readlines")?;
        let length = line.as_bytes().map_or(0, <[u8]>::len);
        if length == 0 {
            return Ok(lines);
        }
        lines.append(&line)?;
        total += length;
        if hint.is_some_and(|hint| total >= hint) {
            return Ok(lines);
        }
    }
}

fn next<'py>(this: &This<'_, 'py>) -> Result<'py, Option<Object<'py>>> {
    this.live_request("__next__")?;
    let line = this.line(usize::MAX, "__next__")?;
    Ok(if line.as_bytes().is_some_and(<[u8]>::is_empty) { None } else { Some(line) })
}

/// The optional size of `read(size=-1)` and its kin; negative and `None` mean "all".
fn size_argument<'py>(arguments: &Arguments<'_, 'py>, name: &str) -> Result<'py, Option<usize>> {
    arguments.expect(name, 0, 1)?;
    match arguments.get(0).filter(|size| !size.is_none()) {
        None => Ok(None),
        Some(size) => Ok(usize::try_from(size.as_index()?).ok()),
    }
}

impl<'py> This<'_, 'py> {
    /// Raises unless the request is still being served, and its body still readable.
    fn live_request(&self, method: &str) -> Result<'py, ()> {
        let py = self.py();
        match self.lease.with(py, |response| response.read_failure().is_some()) {
            None => Err(completed(py, method)),
            Some(false) => Ok(()),
            Some(true) => Err(py.raise(
                ExceptionKind::Os,
                "mod_wsgi request data read error: input is already in error state",
            )),
        }
    }

    /// One line, at most `limit` bytes of it, with its newline.
    fn line(&self, limit: usize, method: &str) -> Result<'py, Object<'py>> {
        let py = self.py();
        let mut searched = 0;
        loop {
            {
                let mut buffer = self.buffer(py);
                let start = buffer.start;
                let held = buffer.bytes.get(start..).unwrap_or_default();
                let newline = held.iter().skip(searched).position(|&byte| byte == b'\n');
                let end = newline.map(|at| searched + at + 1).unwrap_or(usize::MAX).min(limit);
                if end <= held.len() || buffer.ended {
                    let line = held.get(..end).unwrap_or(held);
                    let length = line.len();
                    let line = py.bytes(line)?;
                    buffer.start += length;
                    return Ok(line);
                }
                searched = held.len();
            }
            self.fill_buffer(py, method)?;
        }
    }

    /// Reads another piece into the buffer, after what it holds.
    fn fill_buffer(&self, py: Attached<'py>, method: &str) -> Result<'py, ()> {
        let mut piece = vec![0; 8192];
        let got = self.read_some(py, &mut piece, method)?;
        let mut buffer = self.buffer(py);
        if buffer.start > 0 {
            let start = std::mem::take(&mut buffer.start);
            buffer.bytes.drain(..start);
        }
        buffer.bytes.extend_from_slice(piece.get(..got).unwrap_or_default());
        buffer.ended = got == 0;
        Ok(())
    }

    /// Moves buffered bytes into `into`.
    fn take_buffered(&self, into: &mut [u8]) -> usize {
        let mut buffer = self.buffer(self.py());
        let held = buffer.bytes.get(buffer.start..).unwrap_or_default();
        let count = held.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), held.get(..count)) {
            to.copy_from_slice(from);
        }
        buffer.start += count;
        count
    }

    /// Fills `into`, up to the end of the body.
    fn fill(&self, py: Attached<'py>, into: &mut [u8], method: &str) -> Result<'py, usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let read = self.lease.with_detached(py, |response| {
            response.io.input.calls += 1;
            let mut filled = 0;
            while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match response.read(rest)? {
                    0 => break,
                    more => filled += more,
                }
            }
            Ok(filled)
        });
        raise_failure(py, read, method)
    }

    /// Reads at least one byte; none at the end of the body.
    fn read_some(&self, py: Attached<'py>, into: &mut [u8], method: &str) -> Result<'py, usize> {
        let read = self.lease.with_detached(py, |response| {
            response.io.input.calls += 1;
            response.read(into)
        });
        raise_failure(py, read, method)
    }

    /// Locks the buffer. The lock is never held while the thread waits for another one.
    fn buffer(&self, _py: Attached<'py>) -> MutexGuard<'_, ReadBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn raise_failure<'py>(
    py: Attached<'py>,
    read: Option<std::result::Result<usize, ReadError>>,
    method: &str,
) -> Result<'py, usize> {
    match read {
        None => Err(completed(py, method)),
        Some(Ok(count)) => Ok(count),
        Some(Err(why)) => {
            Err(py.raise(ExceptionKind::Os, &format!("mod_wsgi request data read error: {why}")))
        }
    }
}

fn completed<'py>(py: Attached<'py>, method: &str) -> Raised<'py> {
    let text = format!("{method}() called on wsgi.input after request completed");
    py.raise(ExceptionKind::Runtime, &text)
}
