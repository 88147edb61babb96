//! A line for the log of a web server, as records of the answer to a request. It knows no connection.
#![forbid(unsafe_code)]

use fastcgi::{Extensions, LogLevel, RecordType, encoder};
use wsgi::Level;

/// Records of the request with this id: such as a log has where the web server takes them, else standard error.
pub(super) fn log_records(id: u16, level: Level, line: &[u8], extensions: Extensions) -> Vec<u8> {
    let mut records = Vec::with_capacity(line.len() + 16);
    match LogLevel::from_wire(level as u8) {
        Some(level) if extensions.log => {
            for piece in wsgi::log_pieces(line) {
                encoder::append_log(&mut records, id, level, &piece);
            }
        }
        _ => {
            let line = [line, b"\n"].concat();
            encoder::append_stream(&mut records, RecordType::STDERR, id, &line);
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_a_record_of_the_log_only_for_a_web_server_that_takes_it() {
        let kind = |log| {
            let extensions = Extensions { log, ..Extensions::default() };
            let records = log_records(9, Level::Error, b"disk full", extensions);
            assert!(records.windows(9).any(|it| it == b"disk full"));
            // The type of the record, and its id.
            (records[1], records[3])
        };
        assert_eq!(kind(true), (b'L', 9));
        assert_eq!(kind(false), (7, 9));
    }
}
