//! FastCGI 1.0 without I/O: bytes go in, requests and answers come out, and the other way round.
//! This crate must never know a socket, a clock, a thread, Apache or Python.
//!
//! The specification is the one of 29 April 1996; doc comments name its sections. Where to look:
//!
//! * [`ServerConnection`] is an application's end, [`ClientConnection`] a web server's. Each takes
//!   what was read, checks the order of things, and lends out what it means.
//! * [`encoder`] makes the records each of them writes. Large content is never copied: it makes
//!   headers to go before the caller's own bytes in writev(2).
//! * [`head`] reads and writes the CGI head (RFC 3875, section 6) an answer's STDOUT begins with.
//! * [`Extensions`] are the two private records of ours; a peer that does not announce them never
//!   sees one.
//! * [`Decoder`] is what both ends stand on, and enough for a program that only looks on.
//!
//! All of it reuses its memory from request to request. Per record nothing is allocated.
//!
//! ```
//! use fastcgi::{Answer, Capabilities, ClientConnection, Event, Limits, ServerConnection};
//! use fastcgi::{Extensions, RecordType, encoder};
//!
//! // The web server asks …
//! let mut client = ClientConnection::new(Limits::default());
//! let mut wire = Vec::new();
//! let mut params = client.begin(&mut wire, true, Extensions::default());
//! params.pair(b"REQUEST_METHOD", b"GET");
//! params.finish()?;
//! wire.extend(encoder::end_of_stream(RecordType::STDIN, ClientConnection::REQUEST_ID));
//!
//! // … the application hears it …
//! let capabilities = Capabilities { max_conns: 15, max_reqs: 15, authorizer: false };
//! let mut server = ServerConnection::new(Limits::default(), capabilities);
//! server.spare(wire.len())[..wire.len()].copy_from_slice(&wire);
//! server.filled(wire.len());
//! let mut id = 0;
//! loop {
//!     match server.next()? {
//!         Some(Event::Begin(begin)) => id = begin.id,
//!         Some(Event::Params(params)) => {
//!             assert_eq!(params.get(b"REQUEST_METHOD"), Some(&b"GET"[..]));
//!         }
//!         Some(Event::StdinEnd) => break,
//!         other => panic!("{other:?}"),
//!     }
//! }
//!
//! // … and answers.
//! wire.clear();
//! encoder::append_stream(&mut wire, RecordType::STDOUT, id, b"Status: 204 No Content\r\n\r\n");
//! wire.extend(encoder::end_answer(id, 0));
//! server.finish();
//! assert!(!server.must_close());
//!
//! client.spare(wire.len())[..wire.len()].copy_from_slice(&wire);
//! client.filled(wire.len());
//! assert_eq!(client.next()?, Some(Answer::Stdout(b"Status: 204 No Content\r\n\r\n")));
//! # Ok::<(), fastcgi::WireError>(())
//! ```

#![forbid(unsafe_code)]

mod client;
mod decoder;
pub mod encoder;
mod error;
mod extension;
pub mod head;
mod limits;
mod management;
mod params;
mod private;
mod record;
mod record_type;
mod server;
mod stderr;

pub use client::{Answer, ClientConnection};
pub use decoder::{Decoder, Frame};
pub use error::WireError;
pub use extension::Extensions;
pub use limits::Limits;
pub use management::Capabilities;
pub use params::{PairList, PairListEnd, Pairs, Params, ParamsWriter};
pub use private::{FileSpan, Interim, LogLevel, app_status, param, tunnel};
pub use record::{Header, MAX_CONTENT};
pub use record_type::{ProtocolStatus, RecordType, Role};
pub use server::{Begin, Event, ServerConnection};
pub use stderr::ErrorLines;
