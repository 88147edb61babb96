//! Bytes played to one end of a connection in pieces, and what it made of them.
//! It must never know which bytes; the fuzz targets share this file with the tests.

use fastcgi::head::{HeadParser, HeadWriter};
use fastcgi::{Answer, Capabilities, ClientConnection, Event, Extensions, Interim, Limits};
use fastcgi::{MAX_CONTENT, ProtocolStatus, Role, ServerConnection};

/// What an end of a connection said, with the pieces of a stream joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Begin {
        id: u16,
        role: Role,
        keep_conn: bool,
    },
    Params(Vec<(Vec<u8>, Vec<u8>)>),
    Stdin(Vec<u8>),
    StdinEnd,
    Abort,
    Reply(Vec<u8>),
    Stdout(Vec<u8>),
    StdoutEnd,
    Stderr(Vec<u8>),
    Log(u8, Vec<u8>),
    File(u64, u64),
    /// The values of `Link`; `None`: the body is asked for.
    Interim(Option<Vec<Vec<u8>>>),
    End(u32, ProtocolStatus),
    /// The connection must be, or may be kept, at the end of the bytes.
    Closed,
    Reusable,
    /// An error, from `next` or from `end_of_input`.
    Failed(String),
}

/// After which event a played server ends its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// At once, as if overloaded.
    Begin,
    /// Without reading the body.
    Params,
    /// Once everything has come.
    StdinEnd,
}

pub(crate) const CAPABILITIES: Capabilities =
    Capabilities { max_conns: 20, max_reqs: 10, authorizer: false };

/// Plays `wire` to a server, in reads of as many bytes as `reads` says in turn.
pub(crate) fn serve(wire: &[u8], finish: Finish, limits: Limits, reads: &[usize]) -> Vec<Heard> {
    let mut connection = ServerConnection::new(limits, CAPABILITIES);
    let mut heard = Vec::new();
    for read in cut(wire, reads) {
        fill(connection.spare(read.len()), read);
        connection.filled(read.len());
        loop {
            // A caller that takes the body in small pieces gets the same.
            let event = match connection.next_by(read.len() / 2) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    heard.push(Heard::Failed(error.to_string()));
                    assert_eq!(connection.next().err(), Some(error), "an error must be final");
                    return heard;
                }
            };
            let mut ended = None;
            match event {
                Event::Begin(begin) => {
                    heard.push(Heard::Begin {
                        id: begin.id,
                        role: begin.role,
                        keep_conn: begin.keep_conn,
                    });
                    ended = Some(Finish::Begin);
                }
                Event::Params(params) => {
                    assert_eq!(params.iter().count(), params.len());
                    let pairs = params.iter().map(|(name, value)| (name.into(), value.into()));
                    heard.push(Heard::Params(pairs.collect()));
                    ended = Some(Finish::Params);
                }
                Event::Stdin(bytes) => join(&mut heard, Heard::Stdin(bytes.to_vec())),
                Event::StdinEnd => {
                    heard.push(Heard::StdinEnd);
                    ended = Some(Finish::StdinEnd);
                }
                Event::Abort => {
                    heard.push(Heard::Abort);
                    ended = Some(finish);
                }
                Event::Reply(bytes) => heard.push(Heard::Reply(bytes.to_vec())),
            }
            if ended == Some(finish) {
                connection.finish();
            }
            if connection.must_close() {
                heard.push(Heard::Closed);
                return heard;
            }
        }
    }
    if let Err(error) = connection.end_of_input() {
        heard.push(Heard::Failed(error.to_string()));
    }
    heard
}

/// Plays `wire` to a client that has sent one request.
pub(crate) fn ask(wire: &[u8], extensions: Extensions, reads: &[usize]) -> Vec<Heard> {
    let mut connection = ClientConnection::new(Limits::default());
    let mut request = Vec::new();
    let params = connection.begin(&mut request, true, extensions).finish();
    assert_eq!(params, Ok(()));
    let mut heard = Vec::new();
    for read in cut(wire, reads) {
        fill(connection.spare(read.len()), read);
        connection.filled(read.len());
        loop {
            match connection.next() {
                Ok(None) => break,
                Ok(Some(Answer::Stdout(bytes))) => join(&mut heard, Heard::Stdout(bytes.to_vec())),
                Ok(Some(Answer::StdoutEnd)) => heard.push(Heard::StdoutEnd),
                Ok(Some(Answer::Stderr(bytes))) => join(&mut heard, Heard::Stderr(bytes.to_vec())),
                Ok(Some(Answer::Log { level, line })) => {
                    heard.push(Heard::Log(level.number(), line.to_vec()));
                }
                Ok(Some(Answer::File(span))) => heard.push(Heard::File(span.offset, span.length)),
                Ok(Some(Answer::Interim(Interim::Continue))) => heard.push(Heard::Interim(None)),
                Ok(Some(Answer::Interim(hints))) => {
                    heard.push(Heard::Interim(Some(hints.links().map(<[u8]>::to_vec).collect())));
                }
                Ok(Some(Answer::End { app_status, protocol_status, .. })) => {
                    heard.push(Heard::End(app_status, protocol_status));
                }
                Err(error) => {
                    heard.push(Heard::Failed(error.to_string()));
                    assert_eq!(connection.next().err(), Some(error), "an error must be final");
                    assert!(!connection.is_reusable());
                    return heard;
                }
            }
        }
    }
    if connection.is_reusable() {
        heard.push(Heard::Reusable);
    }
    if let Err(error) = connection.end_of_input() {
        heard.push(Heard::Failed(error.to_string()));
    }
    heard
}

/// A head that was read: status, reason, fields, and the bytes it took.
pub(crate) type ReadHead = (Option<u16>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, usize);

/// Plays `stdout` to a head parser. An error is its message.
pub(crate) fn read_head(
    stdout: &[u8],
    limits: Limits,
    reads: &[usize],
) -> Result<ReadHead, String> {
    let mut parser = HeadParser::new(limits);
    let mut taken = 0;
    for read in cut(stdout, reads) {
        match parser.feed(read).map_err(|error| error.to_string())? {
            Some(count) => {
                taken += count;
                break;
            }
            None => taken += read.len(),
        }
    }
    parser.end_of_input().map_err(|error| error.to_string())?;
    let head = parser.head().ok_or("complete and not there")?;
    let fields = head.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    Ok((head.status(), head.reason().to_vec(), fields, taken))
}

/// Fuzz entry: the first bytes choose how to play the others, and no split may change a thing.
pub(crate) fn fuzz_server(data: &[u8]) {
    let Some(([finish, small, read_a, read_b], wire)) = data.split_first_chunk() else { return };
    let finish = [Finish::Begin, Finish::Params, Finish::StdinEnd][usize::from(finish % 3)];
    let limits = match small % 2 {
        0 => Limits::default(),
        _ => Limits { params_bytes: 256, params_pairs: 8, name_bytes: 32, ..Limits::default() },
    };
    let whole = serve(wire, finish, limits, &[usize::MAX]);
    let reads = [1 + usize::from(*read_a), 1 + usize::from(*read_b)];
    assert_eq!(serve(wire, finish, limits, &reads), whole);
    assert_eq!(serve(wire, finish, limits, &[1]), whole);
}

/// Fuzz entry, for a client.
pub(crate) fn fuzz_client(data: &[u8]) {
    let Some(([extensions, read_a, read_b], wire)) = data.split_first_chunk() else { return };
    let extensions = Extensions {
        log: extensions & 1 != 0,
        file: extensions & 2 != 0,
        interim: extensions & 4 != 0,
    };
    let whole = ask(wire, extensions, &[usize::MAX]);
    let reads = [1 + usize::from(*read_a), 1 + usize::from(*read_b)];
    assert_eq!(ask(wire, extensions, &reads), whole);
    assert_eq!(ask(wire, extensions, &[1]), whole);
}

/// Fuzz entry, for a head. One that can be read can be written, and is then read the same.
pub(crate) fn fuzz_head(data: &[u8]) {
    let Some(([small, read_a, read_b], stdout)) = data.split_first_chunk() else { return };
    let limits = match small % 2 {
        0 => Limits::default(),
        _ => Limits { head_line_bytes: 32, head_bytes: 128, head_fields: 4, ..Limits::default() },
    };
    let whole = read_head(stdout, limits, &[usize::MAX]);
    for reads in [&[1 + usize::from(*read_a), 1 + usize::from(*read_b)][..], &[1]] {
        match (&whole, read_head(stdout, limits, reads)) {
            // How long the line is, is only known as far as it has come.
            (Err(whole), Err(split)) if whole.contains(" bytes exceeds ") => {
                assert!(split.contains(" bytes exceeds "), "{split} instead of {whole}");
            }
            (whole, split) => assert_eq!(&split, whole),
        }
    }
    let Ok((Some(status), reason, fields, taken)) = whole else { return };
    assert!(taken <= stdout.len());
    let mut written = Vec::new();
    let rewrite = |out: &mut Vec<u8>| {
        let mut head = HeadWriter::new(out, status, &reason)?;
        fields.iter().try_for_each(|(name, value)| head.any_field(name, value))?;
        head.finish();
        Ok::<_, fastcgi::head::HeadError>(())
    };
    assert_eq!(rewrite(&mut written), Ok(()));
    let again = read_head(&written, Limits::default(), &[usize::MAX]);
    let length = written.len();
    // White space at the edges of a value is not part of it.
    let reason = reason.trim_ascii_end().to_vec();
    match again {
        Ok((status_again, reason_again, fields_again, taken)) => {
            assert_eq!((status_again, taken), (Some(status), length));
            assert_eq!(reason_again.trim_ascii_end(), reason);
            assert_eq!(fields_again, fields);
        }
        Err(error) => panic!("cannot read what was written: {error}"),
    }
}

/// `wire` in pieces of the lengths `reads`, again and again.
fn cut<'a>(wire: &'a [u8], reads: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = wire;
    reads.iter().cycle().map_while(move |read| {
        let (piece, after) = rest.split_at((*read).min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn fill(spare: &mut [u8], read: &[u8]) {
    spare[..read.len()].copy_from_slice(read);
    // What is buffered is bounded by a record and a read, wherever the bytes lead.
    assert!(spare.len() <= 4 * MAX_CONTENT + 2 * read.len(), "{} spare", spare.len());
}

fn join(heard: &mut Vec<Heard>, next: Heard) {
    match (heard.last_mut(), &next) {
        (Some(Heard::Stdin(before)), Heard::Stdin(bytes))
        | (Some(Heard::Stdout(before)), Heard::Stdout(bytes))
        | (Some(Heard::Stderr(before)), Heard::Stderr(bytes)) => before.extend_from_slice(bytes),
        _ => heard.push(next),
    }
}
