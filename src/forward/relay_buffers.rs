//! Memory that a thread uses for one response after the other. It must never know what a response says.
#![forbid(unsafe_code)]

use fastcgi::Limits;
use fastcgi::head::HeadParser;
use std::cell::RefCell;
use wsgi::ResponseHead;

/// The memory of one thread. It is lent, since to move it would be to copy it.
pub(super) struct RelayBuffers {
    pub(super) head: HeadBuffers,
    /// Body bytes that wait: what goes out together with the end lets httpd tell the length.
    pub(super) pending: Vec<u8>,
}

/// Memory for the head of a response.
pub(super) struct HeadBuffers {
    pub(super) parser: HeadParser,
    pub(super) head: ResponseHead,
    /// The status line.
    pub(super) line: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Option<Box<RelayBuffers>>> = const { RefCell::new(None) };
}

impl RelayBuffers {
    /// The memory of this thread, unless a response before has it still.
    pub(super) fn take() -> Box<Self> {
        BUFFERS.take().unwrap_or_else(|| {
            let parser = HeadParser::new(Limits::default());
            let head = HeadBuffers { parser, head: ResponseHead::new(), line: Vec::new() };
            Box::new(Self { head, pending: Vec::new() })
        })
    }

    /// Clears the memory for a response whose head has these `limits`.
    pub(super) fn restart(&mut self, limits: Limits) {
        self.head.parser.restart(limits);
        self.head.head.clear();
        self.pending.clear();
    }

    /// Keeps the memory for the next response on this thread.
    pub(super) fn put_back(self: Box<Self>) {
        BUFFERS.set(Some(self));
    }
}
