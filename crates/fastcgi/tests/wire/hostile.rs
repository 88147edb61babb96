//! The fuzz entries, fed by proptest: bytes at random, and records that nearly make sense.
//! It must never know what a good answer would be; the entries check themselves.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::playback::{fuzz_client, fuzz_head, fuzz_server};

fn noise() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

/// A record whose type, id and length are likely to be taken seriously, and sometimes cut short.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![8 => 1_u8..=11, 2 => Just(b'L'), 2 => Just(b'F'), 1 => any::<u8>()];
    let id = prop_oneof![12 => Just(1_u8), 2 => Just(0), 1 => Just(2)];
    let padding = prop_oneof![3 => Just(0_u8), 1 => 0_u8..9];
    let content = prop_oneof![
        2 => Just(Vec::new()),
        3 => Just(vec![0, 1, 1, 0, 0, 0, 0, 0]),
        1 => Just(vec![0; 16]),
        2 => Just(b"\x01\x01AB\x02\x01CDE".to_vec()),
        2 => Just(b"\x0e\x00FCGI_MAX_CONNS".to_vec()),
        2 => vec(any::<u8>(), 0..40),
    ];
    let lost = prop_oneof![30 => Just(0_usize), 1 => 1_usize..12];
    (kind, id, padding, content, lost).prop_map(|(kind, id, padding, content, lost)| {
        let mut record = vec![1, kind, 0, id, 0, content.len() as u8, padding, 0];
        record.extend(content);
        record.resize(record.len() + usize::from(padding), 0xee);
        record.truncate(record.len().saturating_sub(lost));
        record
    })
}

/// A conversation that is right for a while, and then anything.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let begin: &[u8] = b"\x01\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0";
    let opened: &[u8] = b"\x01\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0\x01\x04\0\x01\0\0\0\0";
    (prop_oneof![Just(&b""[..]), Just(begin), Just(opened)], vec(record(), 0..12))
        .prop_map(|(start, records)| [start, &records.concat()].concat())
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    vec(record(), 0..12).prop_map(|records| records.concat())
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        3 => "[A-Za-z-]{1,8}:[ -~]{0,30}",
        2 => "Status: ?[0-9]{2,4} ?[ -~]{0,8}",
        1 => "[\\x00-\\x7f]{0,12}",
    ];
    vec((line, prop_oneof![Just("\n"), Just("\r\n"), Just("")]), 0..8).prop_map(|lines| {
        let text: String = lines.into_iter().map(|(line, end)| line + end).collect();
        (text + "\n\nbody").into_bytes()
    })
}

fn chosen(wire: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 2]>(), 0_u8..30, 0_u8..30, wire).prop_map(|(choices, a, b, wire)| {
        // `fuzz_client` and `fuzz_head` take one byte less; the last is then theirs to read.
        [&choices[..], &[a, b], &wire].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_server_survives_noise(data in noise()) {
        fuzz_server(&data);
    }

    #[test]
    fn a_server_survives_records(data in chosen(records())) {
        fuzz_server(&data);
    }

    #[test]
    fn a_client_survives_noise(data in noise()) {
        fuzz_client(&data);
    }

    #[test]
    fn a_client_survives_records(data in chosen(answer())) {
        fuzz_client(&data[1..]);
    }

    #[test]
    fn a_head_survives_noise(data in noise()) {
        fuzz_head(&data);
    }

    #[test]
    fn a_head_survives_lines(data in chosen(head())) {
        fuzz_head(&data[1..]);
    }
}
