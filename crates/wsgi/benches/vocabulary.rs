//! What the names and headers of one small request cost: `cargo bench -p wsgi`.
//! It must never know more than the crate's public face.

#![allow(clippy::expect_used, reason = "a fault here is a fault of the benchmark")]

use divan::{Bencher, black_box};
use wsgi::{Key, ResponseHead, header_rule};

const HEADERS: [&[u8]; 12] = [
    b"Host",
    b"User-Agent",
    b"Accept",
    b"Accept-Language",
    b"Accept-Encoding",
    b"Referer",
    b"Cookie",
    b"Upgrade-Insecure-Requests",
    b"Sec-Fetch-Dest",
    b"Sec-Fetch-Mode",
    b"Sec-Fetch-Site",
    b"Priority",
];
const FIELDS: [(&[u8], &[u8]); 6] = [
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Length", b"13"),
    (b"X-Frame-Options", b"DENY"),
    (b"Vary", b"Cookie, Accept-Language"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"same-origin"),
];

/// A request of the daemon names nearly all keys, and a dozen headers that are none.
#[divan::bench]
fn keys_of_names() -> usize {
    let known = Key::ALL.map(Key::name);
    let keys = known.iter().filter_map(|name| Key::from_name(black_box(name.as_bytes())));
    let strange = HEADERS.iter().filter_map(|name| Key::from_name(black_box(name)));
    keys.count() + strange.count()
}

#[divan::bench]
fn rules_of_headers() {
    for name in HEADERS {
        black_box(header_rule(black_box(name)));
    }
}

#[divan::bench]
fn head_of_an_answer(bencher: Bencher<'_, '_>) {
    let mut head = ResponseHead::default();
    bencher.bench_local(|| {
        head.clear();
        head.set_status(black_box(b"200 OK")).expect("it is a status");
        for (name, value) in FIELDS {
            head.push(black_box(name), black_box(value)).expect("it is a header");
        }
        head.content_length().expect("it is a number")
    });
}

fn main() {
    divan::main();
}
