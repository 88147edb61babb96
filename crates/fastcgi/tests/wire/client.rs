//! What applications answer, byte by byte, and what the requesting end makes of it.
//! It must never know how a request is read.

use fastcgi::{ClientConnection, Extensions, Limits, ProtocolStatus};

use crate::playback::{Heard, ask};

/// Every way to cut `wire` in two, every equal step, and whole, must give the same.
fn heard(wire: &[u8], extensions: Extensions) -> Vec<Heard> {
    let whole = ask(wire, extensions, &[usize::MAX]);
    for at in 1..=wire.len() {
        for reads in [&[at, usize::MAX][..], &[at]] {
            assert_eq!(ask(wire, extensions, reads), whole, "split by {reads:?}");
        }
    }
    whole
}

const NONE: Extensions = Extensions { log: false, file: false, interim: false };
const BOTH: Extensions = Extensions { log: true, file: true, interim: false };
const ALL: Extensions = Extensions { log: true, file: true, interim: true };

const STDOUT_END: [u8; 8] = *b"\x01\x06\0\x01\0\0\0\0";
/// END_REQUEST, application status 7, request complete.
const END: [u8; 16] = *b"\x01\x03\0\x01\0\x08\0\0\0\0\0\x07\0\0\0\0";

#[test]
fn an_answer_of_everything() {
    let wire = [
        &b"\x01\x06\0\x01\0\x02\x06\0ab\0\0\0\0\0\0"[..],
        b"\x01\x07\0\x01\0\x03\0\0oh\n",
        b"\x01L\0\x01\0\x05\0\0\x03fail",
        b"\x01F\0\x01\0\x10\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\x03",
        b"\x01\x0b\0\0\0\x08\0\0\0\0\0\0\0\0\0\0", // management: not for us
        b"\x01\x06\0\x01\0\x01\0\0c",
        &STDOUT_END,
        b"\x01\x07\0\x01\0\0\0\0",
        b"\x01L\0\x01\0\x02\0\0\x08x",
        &END,
    ]
    .concat();
    assert_eq!(
        heard(&wire, BOTH),
        [
            Heard::Stdout(b"ab".to_vec()),
            Heard::Stderr(b"oh\n".to_vec()),
            Heard::Log(3, b"fail".to_vec()),
            Heard::File(4096, 3),
            Heard::Stdout(b"c".to_vec()),
            Heard::StdoutEnd,
            Heard::Log(8, b"x".to_vec()),
            Heard::End(7, ProtocolStatus::RequestComplete),
            Heard::Reusable,
        ]
    );
}

#[test]
fn a_refusal_is_an_answer() {
    for (number, status) in [
        (1, ProtocolStatus::CantMpxConn),
        (2, ProtocolStatus::Overloaded),
        (3, ProtocolStatus::UnknownRole),
    ] {
        let mut wire = END;
        wire[12] = number;
        assert_eq!(heard(&wire, NONE), [Heard::End(7, status), Heard::Reusable]);
    }
}

#[test]
fn malformations_have_names() {
    let log = b"\x01L\0\x01\0\x02\0\0\x03x";
    let file = b"\x01F\0\x01\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let table: [(&[&[u8]], Extensions, &str); 21] = [
        (&[b"HTTP/1.1 400"], NONE, "first byte of a record is 0x48, not FastCGI version 1"),
        (&[b"\x01\x06\0\x02\0\0\0\0"], NONE, "STDOUT record for request 2, expected request 1"),
        (&[b"\x01\x06\0\0\0\0\0\0"], NONE, "STDOUT record with request id 0"),
        (
            &[b"\x01\x0a\0\x01\0\0\0\0"],
            NONE,
            "management record GET_VALUES_RESULT with request id 1",
        ),
        (
            &[b"\x01\x05\0\x01\0\0\0\0"],
            NONE,
            "STDIN record out of place: only a web server sends it",
        ),
        (
            &[&STDOUT_END, &STDOUT_END],
            NONE,
            "STDOUT record out of place: the answer's STDOUT has ended",
        ),
        (&[&STDOUT_END, file], BOTH, "FILE record out of place: the answer's STDOUT has ended"),
        (&[&END, &STDOUT_END], NONE, "STDOUT record out of place: the answer has ended"),
        (
            &[log],
            Extensions { log: false, ..ALL },
            "private LOG record that was not announced as welcome",
        ),
        (
            &[file],
            Extensions { file: false, ..ALL },
            "private FILE record that was not announced as welcome",
        ),
        (
            &[b"\x01I\0\x01\0\x01\0\0C"],
            BOTH,
            "private INTERIM record that was not announced as welcome",
        ),
        (&[b"\x01I\0\x01\0\x01\0\0X"], ALL, "INTERIM record of an unknown kind"),
        (&[b"\x01I\0\x01\0\0\0\0"], ALL, "INTERIM record of an unknown kind"),
        (
            &[&STDOUT_END, b"\x01I\0\x01\0\x01\0\0C"],
            ALL,
            "INTERIM record out of place: the answer's STDOUT has ended",
        ),
        (&[b"\x01L\0\x01\0\0\0\0"], BOTH, "LOG record without a level"),
        (&[b"\x01L\0\x01\0\x01\0\0\x10"], BOTH, "LOG record with unknown level 16"),
        (&[b"\x01F\0\x01\0\x0f\0\0"], BOTH, "FILE record of 15 bytes, must be 16"),
        (
            &[b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\x04\0\0\0"],
            NONE,
            "END_REQUEST record with unknown protocol status 4",
        ),
        (&[], NONE, "connection closed inside a request, before any answer"),
        (&[b"\x01\x06\0\x01\0\x01\0\0x"], NONE, "connection closed inside an answer"),
        (&[&STDOUT_END], NONE, "connection closed inside an answer, before END_REQUEST"),
    ];
    for (wire, extensions, message) in table {
        let heard = heard(&wire.concat(), extensions);
        assert_eq!(heard.last(), Some(&Heard::Failed(message.into())), "{wire:?}");
    }
}

#[test]
fn a_connection_is_reusable_only_when_both_ends_are_done() {
    let mut out = Vec::new();
    let mut connection = ClientConnection::new(Limits::default());
    assert!(!connection.is_reusable(), "nothing was asked");
    for (keep_conn, reusable) in [(true, true), (false, false)] {
        connection.begin(&mut out, keep_conn, NONE).finish().unwrap();
        assert!(connection.is_silent() && !connection.is_reusable());
        connection.spare(END.len())[..END.len()].copy_from_slice(&END);
        connection.filled(END.len());
        assert!(!connection.is_silent());
        assert!(connection.next().unwrap().is_some());
        assert_eq!(connection.is_reusable(), reusable);
        assert_eq!(connection.end_of_input(), Ok(()));
    }
    connection.reset();
    connection.begin(&mut out, true, NONE).finish().unwrap();
    let mut padded = [&END[..], &[0xff; 8]].concat();
    padded[6] = 8;
    connection.spare(padded.len())[..padded.len()].copy_from_slice(&padded);
    connection.filled(padded.len());
    assert!(connection.next().unwrap().is_some());
    assert!(connection.is_reusable(), "padding that is here says nothing");
    connection.begin(&mut out, true, NONE).finish().unwrap();
    let surplus = [&END[..], b"\x01"].concat();
    connection.spare(surplus.len())[..surplus.len()].copy_from_slice(&surplus);
    connection.filled(surplus.len());
    assert!(connection.next().unwrap().is_some());
    assert!(!connection.is_reusable(), "it says something unasked");
    connection.reset();
    connection.begin(&mut out, true, NONE).finish().unwrap();
    assert!(connection.is_silent());
    connection.spare(END.len())[..END.len()].copy_from_slice(&END);
    connection.filled(END.len());
    assert!(connection.next().unwrap().is_some(), "the surplus is forgotten");
}
