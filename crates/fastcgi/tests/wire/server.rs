//! What web servers send, byte by byte, and what the serving end makes of it.
//! It must never know how an answer is read.

use fastcgi::{Begin, Capabilities, Event, Limits, Role, ServerConnection};

use crate::playback::{CAPABILITIES, Finish, Heard, serve};

/// Every way to cut `wire` in two, every equal step, and whole, must give the same.
fn heard(wire: &[u8], finish: Finish) -> Vec<Heard> {
    let whole = serve(wire, finish, Limits::default(), &[usize::MAX]);
    for at in 1..=wire.len() {
        for reads in [&[at, usize::MAX][..], &[at]] {
            let split = serve(wire, finish, Limits::default(), reads);
            assert_eq!(split, whole, "split by {reads:?}");
        }
    }
    whole
}

fn pairs(pairs: &[(&str, &str)]) -> Heard {
    Heard::Params(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

fn begin(keep_conn: bool) -> Heard {
    Heard::Begin { id: 1, role: Role::Responder, keep_conn }
}

fn failed(message: &str) -> Heard {
    Heard::Failed(message.into())
}

/// BEGIN_REQUEST, Responder, keep the connection.
const BEGIN: [u8; 16] = *b"\x01\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0";
const PARAMS_END: [u8; 8] = *b"\x01\x04\0\x01\0\0\0\0";
const STDIN_END: [u8; 8] = *b"\x01\x05\0\x01\0\0\0\0";
const ABORT: [u8; 8] = *b"\x01\x02\0\x01\0\0\0\0";

#[test]
fn a_request_with_a_body_in_two_padded_records() {
    let wire = [
        &BEGIN[..],
        // A pair that straddles two PARAMS records, in its name, with padding between.
        b"\x01\x04\0\x01\0\x04\x03\0\x04\x02NA\xee\xee\xee",
        b"\x01\x04\0\x01\0\x08\0\0MEok\x01\x01XY",
        &PARAMS_END,
        b"\x01\x05\0\x01\0\x03\x05\0abc\xff\xff\xff\xff\xff",
        b"\x01\x05\0\x01\0\x02\x01\0de\xff",
        &STDIN_END,
    ]
    .concat();
    let body = Heard::Stdin(b"abcde".to_vec());
    assert_eq!(
        heard(&wire, Finish::StdinEnd),
        [begin(true), pairs(&[("NAME", "ok"), ("X", "Y")]), body, Heard::StdinEnd]
    );
}

#[test]
fn requests_follow_each_other_until_one_does_not_keep_the_connection() {
    let mut last = BEGIN;
    last[10] = 0;
    let param = b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB";
    let request = [&BEGIN[..], param, &PARAMS_END, &STDIN_END].concat();
    let wire = [&request[..], &request, &last, &PARAMS_END, &STDIN_END, b"GET /"].concat();
    let one = [begin(true), pairs(&[("A", "B")]), Heard::StdinEnd];
    let closed = [begin(false), pairs(&[]), Heard::StdinEnd, Heard::Closed];
    assert_eq!(heard(&wire, Finish::StdinEnd), [&one[..], &one, &closed].concat());
}

#[test]
fn a_body_nobody_read_and_a_late_abort_pass_silently() {
    let wire = [
        &BEGIN[..],
        &PARAMS_END,
        b"\x01\x05\0\x01\0\x03\0\0abc",
        &ABORT,
        &STDIN_END,
        &BEGIN,
        &PARAMS_END,
    ]
    .concat();
    let one = [begin(true), pairs(&[])];
    assert_eq!(heard(&wire, Finish::Params), [one.clone(), one].concat());
}

#[test]
fn abort_behind_the_body_is_known_before_it_is_heard() {
    let wire = [&BEGIN[..], &PARAMS_END, &STDIN_END, &ABORT].concat();
    let mut connection = ServerConnection::new(Limits::default(), CAPABILITIES);
    connection.spare(wire.len())[..wire.len()].copy_from_slice(&wire);
    connection.filled(wire.len());
    let mut known = vec![connection.is_abort_next()];
    while connection.next().unwrap().is_some() {
        known.push(connection.is_abort_next());
    }
    // At first, behind the beginning, the params, the body and the abort.
    assert_eq!(known, [false, false, false, true, false]);
}

#[test]
fn a_refused_request_passes_silently() {
    let wire = [&BEGIN[..], b"\x01\x04\0\x01\0\x01\0\0\x7f", &PARAMS_END, &STDIN_END].concat();
    let wire = [&wire[..], &wire].concat();
    assert_eq!(heard(&wire, Finish::Begin), [begin(true), begin(true)]);
}

#[test]
fn an_aborted_request_says_nothing_more_until_it_is_finished() {
    // Params, a body, and an unknown type; then a request of which all is heard.
    let rest = b"\x01\x04\0\x01\0\0\0\0\x01\x05\0\x01\0\x01\0\0x\x01c\0\x01\0\0\0\0";
    for before in [&[][..], &PARAMS_END] {
        let mut connection = ServerConnection::new(Limits::default(), CAPABILITIES);
        let wire = [&BEGIN[..], before, &ABORT, rest].concat();
        connection.spare(wire.len())[..wire.len()].copy_from_slice(&wire);
        connection.filled(wire.len());
        let mut last = None;
        while let Some(event) = connection.next().unwrap() {
            last = Some(format!("{event:?}"));
        }
        assert_eq!(last.as_deref(), Some("Abort"));
        assert!(connection.active().is_some() && connection.end_of_input().is_ok());

        connection.finish();
        connection.spare(BEGIN.len())[..BEGIN.len()].copy_from_slice(&BEGIN);
        connection.filled(BEGIN.len());
        assert!(matches!(connection.next(), Ok(Some(Event::Begin(_)))));
    }
}

#[test]
fn a_second_request_beside_the_first_is_refused_and_ignored() {
    let wire = [
        &BEGIN[..],
        b"\x01\x01\0\x02\0\x08\0\0\0\x01\0\0\0\0\0\0", // request 2, do not keep
        b"\x01\x04\0\x02\0\x01\0\0\x7f",               // its params, nonsense
        &PARAMS_END,
        &STDIN_END,
    ]
    .concat();
    let refusal = Heard::Reply(b"\x01\x03\0\x02\0\x08\0\0\0\0\0\0\x01\0\0\0".to_vec());
    assert_eq!(heard(&wire, Finish::StdinEnd), [begin(true), refusal, pairs(&[]), Heard::StdinEnd]);
}

#[test]
fn roles_that_are_not_played_are_refused() {
    // Authorizer (switched off), Filter, and an unknown number.
    for role in [2, 3, 9] {
        for keep in [0, 1] {
            let mut wire = BEGIN;
            (wire[9], wire[10]) = (role, keep);
            let refusal = Heard::Reply(b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\x03\0\0\0".to_vec());
            let expected = if keep == 1 { vec![refusal] } else { vec![refusal, Heard::Closed] };
            assert_eq!(heard(&wire, Finish::StdinEnd), expected);
        }
    }
}

#[test]
fn management_is_answered_with_and_without_a_request() {
    let ask = b"\x01\x09\0\0\0\x11\x07\0\x0f\0FCGI_MPXS_CONNS\0\0\0\0\0\0\0";
    let unknown = b"\x01\x63\0\0\0\x03\0\0any";
    let wire = [&ask[..], &BEGIN, unknown, &PARAMS_END].concat();
    let values = Heard::Reply(b"\x01\x0a\0\0\0\x12\0\0\x0f\x01FCGI_MPXS_CONNS0".to_vec());
    let not_known = Heard::Reply(b"\x01\x0b\0\0\0\x08\0\0\x63\0\0\0\0\0\0\0".to_vec());
    assert_eq!(heard(&wire, Finish::Params), [values, begin(true), not_known, pairs(&[])]);
}

#[test]
fn a_connection_starts_over_after_reset() {
    let mut connection = ServerConnection::new(Limits::default(), CAPABILITIES);
    let mut play = |wire: &[u8], finish: bool| {
        connection.reset();
        assert!(connection.is_idle() && !connection.must_close());
        assert!(connection.active().is_none() && connection.params().is_empty());
        connection.spare(wire.len())[..wire.len()].copy_from_slice(wire);
        connection.filled(wire.len());
        assert!(!connection.is_idle());
        while let Ok(Some(_)) = connection.next() {}
        if finish {
            connection.finish();
        }
        connection.must_close()
    };
    let mut last = BEGIN;
    last[10] = 0;
    assert!(play(&last, true));
    // Left in the params, in a body, in a record, and after an error.
    assert!(!play(&[&BEGIN[..], b"\x01\x04\0\x01\0\x03\0\0\x01\0A"].concat(), false));
    assert!(!play(&[&BEGIN[..], &PARAMS_END, &STDIN_END[..5]].concat(), false));
    assert!(!play(b"GET / HTTP/1.1", false));
    assert!(!play(&[&BEGIN[..], &PARAMS_END, &STDIN_END].concat(), true));
}

#[test]
fn an_authorizer_is_served_where_one_is() {
    let capabilities = Capabilities { authorizer: true, ..CAPABILITIES };
    let mut connection = ServerConnection::new(Limits::default(), capabilities);
    let mut wire = BEGIN;
    wire[9] = 2;
    connection.spare(wire.len())[..wire.len()].copy_from_slice(&wire);
    connection.filled(wire.len());
    let event = connection.next().unwrap();
    assert!(matches!(event, Some(Event::Begin(Begin { role: Role::Authorizer, .. }))));
}

#[test]
fn malformations_have_names() {
    let opened = [&BEGIN[..], &PARAMS_END].concat();
    let ended = [&opened[..], &STDIN_END].concat();
    let table: [(&[&[u8]], &str); 16] = [
        (&[b"GET / HTTP"], "first byte of a record is 0x47, not FastCGI version 1"),
        (&[b"\x01\x01\0\x01\0\x07\0\0"], "BEGIN_REQUEST record of 7 bytes, must be 8"),
        (&[b"\x01\x01\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0"], "BEGIN_REQUEST record with request id 0"),
        (&[b"\x01\x05\0\0\0\0\0\0"], "STDIN record with request id 0"),
        (&[b"\x01\x09\0\x01\0\0\0\0"], "management record GET_VALUES with request id 1"),
        (
            &[b"\x01\x0a\0\0\0\0\0\0"],
            "GET_VALUES_RESULT record out of place: only an application sends it",
        ),
        (
            &[b"\x01\x09\0\0\0\x01\0\0\x05"],
            "params end inside a name-value pair, after 0 whole ones",
        ),
        (&[&BEGIN, &BEGIN], "BEGIN_REQUEST for request 1, which has not ended"),
        (&[&BEGIN, &STDIN_END], "STDIN record out of place: params have not ended"),
        (
            &[&BEGIN, b"\x01\x04\0\x01\0\x03\0\0\x01\x09A", &PARAMS_END],
            "params end inside a name-value pair, after 0 whole ones",
        ),
        (&[&opened, &PARAMS_END], "PARAMS record out of place: params have ended"),
        (&[&opened, b"\x01\x06\0\x01\0\0\0\0"], "STDOUT record out of place: params have ended"),
        (&[&opened, b"\x01\x63\0\x01\0\0\0\0"], "record of unknown type 99 in a request"),
        (&[&opened, b"\x01\x05\0\x01\0\x02\0\0a"], "connection closed inside a STDIN record"),
        (&[&opened], "connection closed inside a request body"),
        (&[&BEGIN, b"\x01\x04\0"], "connection closed inside a record header"),
    ];
    for (wire, message) in table {
        // Nothing here finishes before the malformation, so nothing is ignored as inactive.
        let heard = heard(&wire.concat(), Finish::StdinEnd);
        assert_eq!(heard.last(), Some(&failed(message)), "{wire:?}");
    }
    assert_eq!(heard(&ended, Finish::StdinEnd).last(), Some(&Heard::StdinEnd));
}

#[test]
fn real_web_servers_are_understood() {
    // Two requests on one connection each, as sent by nginx 1.22 and by mod_proxy_fcgi of
    // Apache 2.4: GET /a%20b?q=1 with a header of 130 bytes, then POST /post.
    let captured =
        [&include_bytes!("captured/nginx.bin")[..], include_bytes!("captured/mod_proxy_fcgi.bin")];
    for wire in captured {
        let heard = heard(wire, Finish::StdinEnd);
        let params: Vec<_> = heard
            .iter()
            .filter_map(|heard| match heard {
                Heard::Params(pairs) => Some(pairs),
                _ => None,
            })
            .collect();
        let has = |request: usize, name: &str, value: &str| {
            params[request].contains(&(name.into(), value.into()))
        };
        assert!(has(0, "REQUEST_METHOD", "GET") && has(0, "QUERY_STRING", "q=1"));
        assert!(has(0, "HTTP_X_LONG", &"l".repeat(130)));
        assert!(has(1, "REQUEST_METHOD", "POST") && has(1, "CONTENT_LENGTH", "12"));
        let [start @ .., body, end] = heard.as_slice() else { panic!("{heard:?}") };
        assert_eq!((body, end), (&Heard::Stdin(b"name=v%C3%A9".to_vec()), &Heard::StdinEnd));
        assert_eq!(start.len(), 5, "begin, params and end, and begin and params again");
        assert_eq!((&start[0], &start[2]), (&begin(true), &Heard::StdinEnd));
    }
}

#[test]
fn a_body_is_empty_when_its_end_comes_first_and_only_then() {
    let content = b"\x01\x05\0\x01\0\x03\0\0abc";
    let stray = b"\x01\x05\0\x02\0\0\0\0";
    for (rest, empty) in [
        (&STDIN_END[..], true),
        (&STDIN_END[..7], false),
        (&[&content[..], &STDIN_END].concat(), false),
        (&[&stray[..], &STDIN_END].concat(), false),
        (&ABORT, false),
        (b"", false),
    ] {
        let mut connection = ServerConnection::new(Limits::default(), CAPABILITIES);
        assert!(!connection.body_is_empty(), "there is no request");
        let wire = [&BEGIN[..], &PARAMS_END, rest].concat();
        connection.spare(wire.len())[..wire.len()].copy_from_slice(&wire);
        connection.filled(wire.len());
        assert!(matches!(connection.next(), Ok(Some(Event::Begin(_)))));
        assert!(matches!(connection.next(), Ok(Some(Event::Params(_)))));
        assert_eq!(connection.body_is_empty(), empty, "{rest:?}");
        assert!(!connection.body_is_empty(), "it has been said");
        if rest.starts_with(content) {
            assert!(matches!(connection.next(), Ok(Some(Event::Stdin(b"abc")))), "nothing is lost");
        }
    }
}
