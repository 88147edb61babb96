//! The response that accepts a WebSocket, as records. It never sends them.
#![forbid(unsafe_code)]

use fastcgi::head::{HeadError, HeadWriter};
use fastcgi::{RecordType, app_status, encoder};
use wsgi::ResponseHead;

/// The response to the request with this id, with the headers of `head` and no records behind it.
///
/// # Errors
/// When a header cannot be sent.
pub(crate) fn switching(id: u16, head: &ResponseHead) -> Result<Vec<u8>, HeadError> {
    let mut text = Vec::new();
    let mut writer = HeadWriter::new(&mut text, 101, b"Switching Protocols")?;
    for (name, value) in head.headers() {
        writer.any_field(name, value)?;
    }
    writer.finish();
    let mut bytes = Vec::new();
    encoder::append_stream(&mut bytes, RecordType::STDOUT, id, &text);
    bytes.extend_from_slice(&encoder::end_answer(id, app_status::SWITCHED));
    Ok(bytes)
}
