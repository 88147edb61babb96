//! Heads as applications write them, and round trips through writer and parser.
//! It must never know records.

use fastcgi::Limits;
use fastcgi::head::HeadWriter;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::playback::read_head;

#[test]
fn heads_of_other_applications_are_read() {
    // php-fpm, flup and a shell script each have their own idea of a line end.
    let table: [(&[u8], Option<u16>, usize); 3] = [
        (b"X-Powered-By: PHP/8.2\r\nContent-type: text/html; charset=UTF-8\r\n\r\nhi", None, 2),
        (b"Status: 302 Found\nLocation: http://x/\n\nhi", Some(302), 2),
        (b"Content-Type:text/plain\n\r\nhi", None, 2),
    ];
    for (stdout, status, body) in table {
        for step in 1..=stdout.len() {
            let head = read_head(stdout, Limits::default(), &[step]).unwrap();
            assert_eq!((head.0, stdout.len() - head.3), (status, body));
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        code in 100_u16..=999,
        reason in "[!-~]([ -~\u{a0}-\u{ff}]{0,30}[!-~])?",
        fields in vec(("[A-Za-z][A-Za-z0-9-]{0,20}", "([!-~]([ \t-~]{0,40}[!-~])?)?"), 0..20),
        reads in vec(1_usize..40, 1..5),
    ) {
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out, code, reason.as_bytes()).unwrap();
        let mut expected = Vec::new();
        for (name, value) in &fields {
            match writer.field(name.as_bytes(), value.as_bytes()) {
                Ok(()) => expected.push((name.clone().into_bytes(), value.clone().into_bytes())),
                Err(_) => prop_assert!(value.contains(['\r', '\n']) || name == "Status"),
            }
        }
        writer.finish();
        let length = out.len();
        out.extend_from_slice(b"body");
        let head = read_head(&out, Limits::default(), &reads);
        prop_assert_eq!(head, Ok((Some(code), reason.into_bytes(), expected, length)));
    }
}
