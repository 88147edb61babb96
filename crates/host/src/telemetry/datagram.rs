//! One message: a header of 24 bytes, then fields with a number, a type and a value, all little-endian.
#![forbid(unsafe_code)]

/// The types of messages, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sample = 2,
    SlowRequest = 4,
    Started = 5,
    Stopping = 6,
    Stopped = 7,
    Garbage = 8,
    Collection = 9,
}

/// A message that is being written.
pub(super) struct Datagram(Vec<u8>);

const VERSION: u8 = 1;
/// The most bytes a service takes. A field that does not fit is left out.
const MAX_LENGTH: usize = 8192;

impl Datagram {
    /// `number` counts the messages of a process from 1; `time` is in seconds since the epoch.
    pub(super) fn new(kind: Kind, pid: u32, number: u32, time: f64) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(b"WSGI");
        bytes.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
        bytes.extend_from_slice(&pid.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&time.to_le_bytes());
        Self(bytes)
    }

    pub(super) fn count(&mut self, field: u16, value: u64) {
        self.put(field, 1, None, &value.to_le_bytes());
    }

    pub(super) fn float(&mut self, field: u16, value: f64) {
        self.put(field, 2, None, &value.to_le_bytes());
    }

    /// At most `most` bytes of it.
    pub(super) fn bytes(&mut self, field: u16, value: &[u8], most: usize) {
        let value = value.get(..most).unwrap_or(value);
        self.put(field, 4, Some(value.len()), value);
    }

    pub(super) fn integers(&mut self, field: u16, values: impl Iterator<Item = i32>) {
        let bytes: Vec<u8> = values.flat_map(i32::to_le_bytes).collect();
        self.put(field, 5, Some(bytes.len() / 4), &bytes);
    }

    pub(super) fn floats(&mut self, field: u16, values: impl Iterator<Item = f64>) {
        let bytes: Vec<u8> = values.flat_map(f64::to_le_bytes).collect();
        self.put(field, 6, Some(bytes.len() / 8), &bytes);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn put(&mut self, field: u16, kind: u8, length: Option<usize>, value: &[u8]) {
        let Ok(length) = length.map(u16::try_from).transpose() else { return };
        if self.0.len() + 5 + value.len() > MAX_LENGTH {
            return;
        }
        self.0.extend_from_slice(&field.to_le_bytes());
        self.0.push(kind);
        if let Some(length) = length {
            self.0.extend_from_slice(&length.to_le_bytes());
        }
        self.0.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_header_and_fields() {
        let mut datagram = Datagram::new(Kind::Stopping, 7, 1, 0.5);
        datagram.count(133, 2);
        datagram.bytes(5, b"a host", 3);
        datagram.integers(90, [1, -1].into_iter());
        let expected = [
            &b"WSGI\x01\x06\0\0\x07\0\0\0\x01\0\0\0"[..],
            &0.5_f64.to_le_bytes(),
            b"\x85\0\x01\x02\0\0\0\0\0\0\0",
            b"\x05\0\x04\x03\0a h",
            b"\x5a\0\x05\x02\0\x01\0\0\0\xff\xff\xff\xff",
        ];
        assert_eq!(datagram.as_bytes(), expected.concat());
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut datagram = Datagram::new(Kind::Sample, 7, 1, 0.0);
        datagram.bytes(1, &[b'x'; MAX_LENGTH], MAX_LENGTH);
        datagram.floats(111, std::iter::repeat_n(0.0, MAX_LENGTH));
        assert_eq!(datagram.as_bytes().len(), 24);
        datagram.bytes(1, &[b'x'; MAX_LENGTH], MAX_LENGTH - 24 - 5);
        datagram.count(2, 1);
        assert_eq!(datagram.as_bytes().len(), MAX_LENGTH);
    }
}
