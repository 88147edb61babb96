//! Both ends of a connection, talking to each other with whatever proptest thinks of.
//! It must never know bytes; that is for the fixtures.

use fastcgi::{ClientConnection, Extensions, FileSpan, Limits, LogLevel, ProtocolStatus};
use fastcgi::{RecordType, encoder};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::playback::{Finish, Heard, ask, serve};

fn bytes(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), length)
}

/// Short as a rule, sometimes longer than a record.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => bytes(0..300), 1 => (65_000_usize..140_000).prop_map(|n| vec![b'x'; n])]
}

fn reads() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1_usize..20, 20_usize..5000, 5000_usize..200_000], 1..6)
}

#[derive(Debug, Clone)]
enum Said {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Log(u8, Vec<u8>),
    File(u64, u64),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        content().prop_map(Said::Stdout),
        content().prop_map(Said::Stderr),
        (0_u8..=15, bytes(0..200)).prop_map(|(level, line)| Said::Log(level, line)),
        (any::<u64>(), any::<u64>()).prop_map(|(offset, length)| Said::File(offset, length)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_request_arrives_as_it_was_sent(
        pairs in vec((bytes(0..200), content()), 0..6),
        body in content(),
        keep_conn: bool,
        log: bool,
        file: bool,
        interim: bool,
        reads in reads(),
    ) {
        let mut wire = Vec::new();
        let mut client = ClientConnection::new(Limits::default());
        let mut params = client.begin(&mut wire, keep_conn, Extensions { log, file, interim });
        for (name, value) in &pairs {
            params.pair(name, value);
        }
        params.finish().unwrap();
        let id = ClientConnection::REQUEST_ID;
        encoder::append_stream(&mut wire, RecordType::STDIN, id, &body);
        wire.extend(encoder::end_of_stream(RecordType::STDIN, id));

        let heard = serve(&wire, Finish::StdinEnd, Limits::default(), &reads);
        let mut expected: Vec<(Vec<u8>, Vec<u8>)> = Extensions { log, file, interim }
            .names()
            .map(|name| (name.into(), b"1".to_vec()))
            .collect();
        expected.extend(pairs);
        prop_assert_eq!(&heard[1], &Heard::Params(expected));
        let mut rest = Vec::new();
        if !body.is_empty() {
            rest.push(Heard::Stdin(body));
        }
        rest.push(Heard::StdinEnd);
        if !keep_conn {
            rest.push(Heard::Closed);
        }
        prop_assert_eq!(&heard[2..], &rest[..]);
    }

    #[test]
    fn an_answer_arrives_as_it_was_sent(
        all in vec(said(), 0..12),
        app_status: u32,
        reads in reads(),
    ) {
        let mut wire = Vec::new();
        let mut expected: Vec<Heard> = Vec::new();
        for said in all {
            match said {
                Said::Stdout(bytes) => {
                    encoder::append_stream(&mut wire, RecordType::STDOUT, 1, &bytes);
                    match expected.last_mut() {
                        _ if bytes.is_empty() => {}
                        Some(Heard::Stdout(before)) => before.extend(bytes),
                        _ => expected.push(Heard::Stdout(bytes)),
                    }
                }
                Said::Stderr(bytes) => {
                    encoder::append_stream(&mut wire, RecordType::STDERR, 1, &bytes);
                    match expected.last_mut() {
                        _ if bytes.is_empty() => {}
                        Some(Heard::Stderr(before)) => before.extend(bytes),
                        _ => expected.push(Heard::Stderr(bytes)),
                    }
                }
                Said::Log(number, line) => {
                    let level = LogLevel::from_wire(number).unwrap();
                    encoder::append_log(&mut wire, 1, level, &line);
                    expected.push(Heard::Log(number, line));
                }
                Said::File(offset, length) => {
                    wire.extend(encoder::file(1, FileSpan { offset, length }));
                    expected.push(Heard::File(offset, length));
                }
            }
        }
        wire.extend(encoder::end_answer(1, app_status));
        let end = Heard::End(app_status, ProtocolStatus::RequestComplete);
        expected.extend([Heard::StdoutEnd, end, Heard::Reusable]);
        prop_assert_eq!(ask(&wire, Extensions { log: true, file: true, interim: true }, &reads), expected);
    }
}
