//! Keys and values of scopes and messages (ASGI 3) as `str` objects that are made once: a request needs two dozen.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Persistent, Result};
use std::sync::OnceLock;

/// A `str` of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Asgi,
    Body,
    Bytes,
    Client,
    Code,
    Disconnect,
    EarlyHint,
    Extensions,
    Get,
    Headers,
    Http,
    Http10,
    Http11,
    Http2,
    Http3,
    HttpVersion,
    Https,
    Method,
    MoreBody,
    Path,
    PathSend,
    Post,
    QueryString,
    RawPath,
    Reason,
    Request,
    RootPath,
    Scheme,
    Server,
    SpecVersion,
    SpecVersionKept,
    Status,
    Subprotocol,
    Subprotocols,
    Text,
    Trailers,
    Type,
    Version,
    VersionKept,
    WebSocket,
    WebSocketDisconnect,
    WebSocketReceive,
    WebSocketResponse,
    Ws,
    Wss,
    ZeroCopySend,
}

/// How many names there are.
const COUNT: usize = Name::ZeroCopySend as usize + 1;

/// The objects, of the main interpreter: the only one that has an event loop of the server's.
static OBJECTS: [OnceLock<Persistent>; COUNT] = [const { OnceLock::new() }; COUNT];

impl Name {
    /// Its text.
    const fn text(self) -> &'static str {
        match self {
            Self::Asgi => "asgi",
            Self::Body => "body",
            Self::Bytes => "bytes",
            Self::Client => "client",
            Self::Code => "code",
            Self::Disconnect => "http.disconnect",
            Self::EarlyHint => "http.response.early_hint",
            Self::Extensions => "extensions",
            Self::Get => "GET",
            Self::Headers => "headers",
            Self::Http => "http",
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
            Self::Http3 => "3",
            Self::HttpVersion => "http_version",
            Self::Https => "https",
            Self::Method => "method",
            Self::MoreBody => "more_body",
            Self::Path => "path",
            Self::PathSend => "http.response.pathsend",
            Self::Post => "POST",
            Self::QueryString => "query_string",
            Self::RawPath => "raw_path",
            Self::Reason => "reason",
            Self::Request => "http.request",
            Self::RootPath => "root_path",
            Self::Scheme => "scheme",
            Self::Server => "server",
            Self::SpecVersion => "spec_version",
            Self::SpecVersionKept => "2.5",
            Self::Status => "status",
            Self::Subprotocol => "subprotocol",
            Self::Subprotocols => "subprotocols",
            Self::Text => "text",
            Self::Trailers => "trailers",
            Self::Type => "type",
            Self::Version => "version",
            Self::VersionKept => "3.0",
            Self::WebSocket => "websocket",
            Self::WebSocketDisconnect => "websocket.disconnect",
            Self::WebSocketReceive => "websocket.receive",
            Self::WebSocketResponse => "websocket.http.response",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::ZeroCopySend => "http.response.zerocopysend",
        }
    }

    /// The `str`, interned.
    ///
    /// # Errors
    /// `MemoryError` where it cannot be made.
    pub(super) fn object(self, py: Attached<'_>) -> Result<'_, Object<'_>> {
        let Some(made) = OBJECTS.get(self as usize) else { return py.interned(self.text()) };
        match made.get() {
            Some(object) => Ok(object.get(py)),
            None => {
                let object = py.interned(self.text())?;
                let _ = made.set(Persistent::new(object.clone()));
                Ok(object)
            }
        }
    }
}
