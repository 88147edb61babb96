//! Records on their way out, each as a small array for writev(2) or for the end of a buffer.
//! It must never know whether a request is at the point where a record may be sent.
//!
//! Nothing is ever padded: FastCGI 1.0, 3.3 only recommends it, and fewer bytes are fewer bytes.

use crate::private::{FileSpan, Interim, LogLevel, queue_time_to_wire};
use crate::record::{Header, MAX_CONTENT};
use crate::record_type::{ProtocolStatus, RecordType, Role};

/// BEGIN_REQUEST (FastCGI 1.0, 5.1). With `keep_conn` the application leaves the connection open.
pub fn begin_request(id: u16, role: Role, keep_conn: bool) -> [u8; 16] {
    let [role_high, role_low] = (role as u16).to_be_bytes();
    let body = [role_high, role_low, u8::from(keep_conn) * KEEP_CONN, 0, 0, 0, 0, 0];
    record(RecordType::BEGIN_REQUEST, id, body)
}

/// ABORT_REQUEST (FastCGI 1.0, 5.4). The answer still ends with END_REQUEST.
pub fn abort_request(id: u16) -> [u8; 8] {
    Header::new(RecordType::ABORT_REQUEST, id, 0).to_bytes()
}

/// END_REQUEST (FastCGI 1.0, 5.5). `app_status` is what exit(3) was for a CGI program.
pub fn end_request(id: u16, app_status: u32, status: ProtocolStatus) -> [u8; 16] {
    let [a, b, c, d] = app_status.to_be_bytes();
    record(RecordType::END_REQUEST, id, [a, b, c, d, status as u8, 0, 0, 0])
}

/// The end of STDOUT and END_REQUEST in one: how a served request's answer ends.
pub fn end_answer(id: u16, app_status: u32) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&end_of_stream(RecordType::STDOUT, id));
    bytes[8..].copy_from_slice(&end_request(id, app_status, ProtocolStatus::RequestComplete));
    bytes
}

/// The same for the Apache module, with the time that the request has waited for a worker, in microseconds.
pub fn end_answer_after(id: u16, app_status: u32, queue_time: u64) -> [u8; 24] {
    let mut bytes = end_answer(id, app_status);
    bytes[21..].copy_from_slice(&queue_time_to_wire(queue_time));
    bytes
}

/// The empty record that ends a stream (FastCGI 1.0, 3.3).
pub fn end_of_stream(stream: RecordType, id: u16) -> [u8; 8] {
    Header::new(stream, id, 0).to_bytes()
}

/// `content` cut into records of a stream: each header with the bytes that go behind it, for
/// writev(2). Nothing comes of empty content, since an empty record would end the stream.
///
/// An answer's head and the first of its body make one record when their lengths together go
/// into one [`Header::new`].
pub fn stream(
    stream: RecordType,
    id: u16,
    content: &[u8],
) -> impl ExactSizeIterator<Item = ([u8; 8], &[u8])> {
    content.chunks(MAX_CONTENT).map(move |chunk| {
        // A chunk is at most MAX_CONTENT, which is u16::MAX.
        (Header::new(stream, id, chunk.len() as u16).to_bytes(), chunk)
    })
}

/// [`stream`] for content that lies in several places: calls `each` with every header and every part of the
/// content, in the order they go out. A record goes on from one place to the next.
pub fn scattered_stream<'a>(
    stream: RecordType,
    id: u16,
    content: &[&'a [u8]],
    mut each: impl FnMut(Part<'a>),
) {
    let mut left: usize = content.iter().map(|place| place.len()).sum();
    let mut room = 0;
    for place in content {
        let mut rest = *place;
        while !rest.is_empty() {
            if room == 0 {
                room = left.min(MAX_CONTENT);
                left -= room;
                // At most MAX_CONTENT, which is u16::MAX.
                each(Part::Header(Header::new(stream, id, room as u16).to_bytes()));
            }
            let (part, more) = rest.split_at(rest.len().min(room));
            each(Part::Content(part));
            room -= part.len();
            rest = more;
        }
    }
}

/// Part of what [`scattered_stream`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A record's header.
    Header([u8; 8]),
    /// Bytes of its content, never none.
    Content(&'a [u8]),
}

impl AsRef<[u8]> for Part<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Header(bytes) => bytes,
            Self::Content(bytes) => bytes,
        }
    }
}

/// [`stream`] at the end of a buffer, for content too short to be worth a writev(2) entry.
pub fn append_stream(out: &mut Vec<u8>, record_type: RecordType, id: u16, content: &[u8]) {
    for (header, chunk) in stream(record_type, id, content) {
        out.extend_from_slice(&header);
        out.extend_from_slice(chunk);
    }
}

/// A log record at the end of a buffer. Only for a peer that announced [`Extensions::log`]. A
/// line longer than a record is cut; its line end is not part of it.
///
/// [`Extensions::log`]: crate::Extensions::log
pub fn append_log(out: &mut Vec<u8>, id: u16, level: LogLevel, line: &[u8]) {
    let line = &line[..line.len().min(MAX_CONTENT - 1)];
    // At most MAX_CONTENT, as just ensured.
    let length = (line.len() + 1) as u16;
    out.extend_from_slice(&Header::new(RecordType::LOG, id, length).to_bytes());
    out.push(level.number());
    out.extend_from_slice(line);
}

/// An interim record at the end of a buffer. Only for a peer that announced [`Extensions::interim`], before the answer;
/// hints longer than a record are left out.
///
/// [`Extensions::interim`]: crate::Extensions::interim
pub fn append_interim(out: &mut Vec<u8>, id: u16, interim: Interim<'_>) {
    let rest = Some(interim.rest()).filter(|rest| rest.len() < MAX_CONTENT).unwrap_or_default();
    // At most MAX_CONTENT, as just ensured.
    let length = (rest.len() + 1) as u16;
    out.extend_from_slice(&Header::new(RecordType::INTERIM, id, length).to_bytes());
    out.push(interim.kind());
    out.extend_from_slice(rest);
}

/// A file record. Only for a peer that announced [`Extensions::file`], and only as the first
/// bytes of a sendmsg(2) that carries the descriptor.
///
/// [`Extensions::file`]: crate::Extensions::file
pub fn file(id: u16, span: FileSpan) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&Header::new(RecordType::FILE, id, 16).to_bytes());
    bytes[8..16].copy_from_slice(&span.offset.to_be_bytes());
    bytes[16..].copy_from_slice(&span.length.to_be_bytes());
    bytes
}

/// UNKNOWN_TYPE, the answer to a management record that is not understood (FastCGI 1.0, 4.2).
pub fn unknown_type(record_type: RecordType) -> [u8; 16] {
    record(RecordType::UNKNOWN_TYPE, 0, [record_type.0, 0, 0, 0, 0, 0, 0, 0])
}

fn record(record_type: RecordType, id: u16, body: [u8; 8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&Header::new(record_type, id, 8).to_bytes());
    bytes[8..].copy_from_slice(&body);
    bytes
}

/// The one flag of BEGIN_REQUEST (FastCGI 1.0, 5.1).
pub(crate) const KEEP_CONN: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_records_byte_for_byte() {
        assert_eq!(
            begin_request(1, Role::Responder, true),
            [1, 1, 0, 1, 0, 8, 0, 0, /* role */ 0, 1, /* flags */ 1, 0, 0, 0, 0, 0]
        );
        assert_eq!(begin_request(1, Role::Filter, false)[8..11], [0, 3, 0]);
        assert_eq!(abort_request(0x0203), [1, 2, 2, 3, 0, 0, 0, 0]);
        assert_eq!(
            end_request(1, 0x0a0b_0c0d, ProtocolStatus::Overloaded),
            [1, 3, 0, 1, 0, 8, 0, 0, /* app */ 10, 11, 12, 13, /* protocol */ 2, 0, 0, 0]
        );
        assert_eq!(
            end_answer(1, 0),
            [1, 6, 0, 1, 0, 0, 0, 0, 1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(end_answer_after(1, 0, 0), end_answer(1, 0));
        assert_eq!(end_answer_after(1, 7, 0x1_0203)[16..], [0, 0, 0, 7, 0, 1, 2, 3]);
        assert_eq!(unknown_type(RecordType(99))[..9], [1, 11, 0, 0, 0, 8, 0, 0, 99]);
        assert_eq!(
            file(1, FileSpan { offset: 0x0102, length: u64::MAX }),
            *b"\x01F\0\x01\0\x10\0\0\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff"
        );
    }

    #[test]
    fn log_lines_are_cut_to_a_record() {
        let mut out = Vec::new();
        append_log(&mut out, 1, LogLevel::from_wire(4).unwrap(), b"disk full");
        assert_eq!(out, b"\x01L\0\x01\0\x0a\0\0\x04disk full");
        out.clear();
        append_log(&mut out, 1, LogLevel::from_wire(7).unwrap(), &[b'x'; 70_000]);
        assert_eq!(out[..9], *b"\x01L\0\x01\xff\xff\0\0\x07");
        assert_eq!(out.len(), Header::LENGTH + MAX_CONTENT);
    }

    #[test]
    fn streams_are_cut_at_full_records_and_not_ended() {
        let content = vec![9; 2 * MAX_CONTENT + 3];
        let lengths: Vec<_> = stream(RecordType::STDIN, 1, &content)
            .map(|(header, chunk)| (Header::parse(header).unwrap().content_length, chunk.len()))
            .collect();
        assert_eq!(lengths, [(65535, 65535), (65535, 65535), (3, 3)]);
        assert_eq!(stream(RecordType::STDIN, 1, b"").len(), 0);
    }

    #[test]
    fn scattered_content_makes_the_same_records() {
        let whole: Vec<u8> = (0..=255).cycle().take(2 * MAX_CONTENT + 3).collect();
        let mut expected = Vec::new();
        append_stream(&mut expected, RecordType::STDIN, 1, &whole);
        for size in [1000, 8000, MAX_CONTENT, MAX_CONTENT + 1, whole.len()] {
            let places: Vec<_> = whole.chunks(size).chain([&[][..]]).collect();
            let mut out = Vec::new();
            scattered_stream(RecordType::STDIN, 1, &places, |part| {
                assert!(!part.as_ref().is_empty());
                out.extend_from_slice(part.as_ref());
            });
            assert!(out == expected, "in places of {size}");
        }
        scattered_stream(RecordType::STDIN, 1, &[], |part| panic!("{part:?} of nothing"));
    }
}
