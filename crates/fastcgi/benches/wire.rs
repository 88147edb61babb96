//! What one small request costs on the wire, at both ends: `cargo bench -p fastcgi`.
//! It must never know more than the crate's public face.

#![allow(clippy::expect_used, reason = "a fault here is a fault of the benchmark")]

use divan::{Bencher, black_box};
use fastcgi::head::{HeadParser, HeadWriter};
use fastcgi::{
    Answer, Capabilities, ClientConnection, Event, Extensions, Limits, RecordType,
    ServerConnection, encoder,
};

/// The params of a browser's request, as long as they usually are.
const PARAMS: [(&[u8], &[u8]); 30] = [
    (b"REQUEST_METHOD", b"GET"),
    (b"SCRIPT_NAME", b""),
    (b"PATH_INFO", b"/articles/2026/november"),
    (b"QUERY_STRING", b"page=3&order=date"),
    (b"REQUEST_URI", b"/articles/2026/november?page=3&order=date"),
    (b"REQUEST_SCHEME", b"https"),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"SERVER_SOFTWARE", b"Apache/2.4.71 (Debian)"),
    (b"SERVER_NAME", b"www.example.com"),
    (b"SERVER_ADDR", b"192.0.2.1"),
    (b"SERVER_PORT", b"443"),
    (b"SERVER_ADMIN", b"webmaster@example.com"),
    (b"REMOTE_ADDR", b"198.51.100.17"),
    (b"REMOTE_PORT", b"54321"),
    (b"DOCUMENT_ROOT", b"/srv/site/htdocs"),
    (b"SCRIPT_FILENAME", b"/srv/site/app.wsgi"),
    (b"CONTENT_TYPE", b""),
    (b"CONTENT_LENGTH", b""),
    (b"HTTP_HOST", b"www.example.com"),
    (b"HTTP_USER_AGENT", b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (b"HTTP_ACCEPT", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"HTTP_ACCEPT_LANGUAGE", b"en-GB,en;q=0.7,de;q=0.3"),
    (b"HTTP_ACCEPT_ENCODING", b"gzip, deflate, br, zstd"),
    (b"HTTP_REFERER", b"https://www.example.com/articles/2026/november?page=2"),
    (b"HTTP_COOKIE", b"sessionid=0123456789abcdef0123456789abcdef; csrftoken=fedcba9876543210"),
    (b"HTTP_UPGRADE_INSECURE_REQUESTS", b"1"),
    (b"HTTP_SEC_FETCH_DEST", b"document"),
    (b"HTTP_SEC_FETCH_MODE", b"navigate"),
    (b"HTTP_SEC_FETCH_SITE", b"same-origin"),
    (b"HTTP_PRIORITY", b"u=0, i"),
];
const FIELDS: [(&[u8], &[u8]); 6] = [
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Length", b"13"),
    (b"X-Frame-Options", b"DENY"),
    (b"Vary", b"Cookie, Accept-Language"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"same-origin"),
];

fn write_request(client: &mut ClientConnection, wire: &mut Vec<u8>) {
    wire.clear();
    let mut params = client.begin(wire, true, Extensions::default());
    for (name, value) in PARAMS {
        params.pair(name, value);
    }
    params.finish().expect("they are small");
    wire.extend(encoder::end_of_stream(RecordType::STDIN, ClientConnection::REQUEST_ID));
}

fn read_request(server: &mut ServerConnection, wire: &[u8]) -> usize {
    server.spare(wire.len())[..wire.len()].copy_from_slice(wire);
    server.filled(wire.len());
    let mut bytes = 0;
    while let Some(event) = server.next().expect("it is well formed") {
        match event {
            Event::Params(params) => {
                bytes = params.iter().map(|(name, value)| name.len() + value.len()).sum();
            }
            Event::StdinEnd => break,
            _ => {}
        }
    }
    server.finish();
    bytes
}

fn write_answer(head: &mut Vec<u8>, wire: &mut Vec<u8>) {
    head.clear();
    let mut writer = HeadWriter::new(head, 200, b"OK").expect("it is a status");
    for (name, value) in FIELDS {
        writer.field(name, value).expect("it is a field");
    }
    writer.finish();
    head.extend_from_slice(b"Hello, world!");
    wire.clear();
    encoder::append_stream(wire, RecordType::STDOUT, ClientConnection::REQUEST_ID, head);
    wire.extend(encoder::end_answer(ClientConnection::REQUEST_ID, 0));
}

fn read_answer(client: &mut ClientConnection, parser: &mut HeadParser, wire: &[u8]) -> usize {
    client.spare(wire.len())[..wire.len()].copy_from_slice(wire);
    client.filled(wire.len());
    parser.reset();
    let mut used = 0;
    while let Some(answer) = client.next().expect("it is well formed") {
        match answer {
            Answer::Stdout(bytes) => {
                used = parser.feed(bytes).expect("it is a head").unwrap_or(bytes.len());
            }
            Answer::End { .. } => break,
            _ => {}
        }
    }
    used
}

fn limits() -> Limits {
    Limits::default()
}

#[divan::bench]
fn request_write(bencher: Bencher<'_, '_>) {
    let mut wire = Vec::new();
    bencher.bench_local(|| {
        write_request(&mut ClientConnection::new(limits()), &mut wire);
        wire.len()
    });
}

#[divan::bench]
fn request_read(bencher: Bencher<'_, '_>) {
    let mut wire = Vec::new();
    write_request(&mut ClientConnection::new(limits()), &mut wire);
    let capabilities = Capabilities { max_conns: 15, max_reqs: 15, authorizer: false };
    let mut server = ServerConnection::new(limits(), capabilities);
    bencher.bench_local(|| read_request(&mut server, black_box(&wire)));
}

#[divan::bench]
fn answer_write(bencher: Bencher<'_, '_>) {
    let (mut head, mut wire) = (Vec::new(), Vec::new());
    bencher.bench_local(|| {
        write_answer(&mut head, &mut wire);
        wire.len()
    });
}

#[divan::bench]
fn answer_read(bencher: Bencher<'_, '_>) {
    let (mut head, mut wire, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
    write_answer(&mut head, &mut wire);
    let mut client = ClientConnection::new(limits());
    let mut parser = HeadParser::new(limits());
    bencher.bench_local(|| {
        ignored.clear();
        client.begin(&mut ignored, true, Extensions::default()).finish().expect("it is empty");
        read_answer(&mut client, &mut parser, black_box(&wire))
    });
}

fn main() {
    divan::main();
}
