//! The response that accepts a WebSocket, as records. It never sends them.
#![forbid(unsafe_code)]

use crate::worker::connection::Connection;
use fastcgi::head::{HeadError, HeadWriter};
use fastcgi::{RecordType, app_status, encoder};
use websocket::Compression;
use wsgi::ResponseHead;

/// The response, and what it says of compression.
pub(crate) struct Acceptance {
    pub(crate) response: Vec<u8>,
    pub(crate) compression: Option<Compression>,
}

/// The response to the request on this connection, with the headers of `head` and no records behind it. `compresses`: what
/// the client offers about compression may be accepted.
///
/// # Errors
/// When a header cannot be sent.
pub(crate) fn switching(
    connection: &Connection,
    head: &ResponseHead,
    compresses: bool,
) -> Result<Acceptance, HeadError> {
    let offers = || connection.wire.params().get(b"HTTP_SEC_WEBSOCKET_EXTENSIONS");
    let compression = compresses.then(offers).flatten().and_then(Compression::of_offers);
    let mut text = Vec::new();
    let mut writer = HeadWriter::new(&mut text, 101, b"Switching Protocols")?;
    for (name, value) in head.headers() {
        writer.any_field(name, value)?;
    }
    if let Some(compression) = &compression {
        writer.any_field(b"Sec-WebSocket-Extensions", compression.to_string().as_bytes())?;
    }
    writer.finish();
    let mut bytes = Vec::new();
    encoder::append_stream(&mut bytes, RecordType::STDOUT, connection.id(), &text);
    bytes.extend_from_slice(&encoder::end_answer(connection.id(), app_status::SWITCHED));
    Ok(Acceptance { response: bytes, compression })
}
