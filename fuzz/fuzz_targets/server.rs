//! Fuzz target: any bytes from a web server.
//! It must never know more than the entry; that is shared with the tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fastcgi/tests/wire/playback.rs"]
#[allow(dead_code, reason = "each target uses a part of it")]
mod playback;

fuzz_target!(|data: &[u8]| playback::fuzz_server(data));
