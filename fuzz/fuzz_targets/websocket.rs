//! Fuzz target: any frames from the client of a WebSocket, and a model of RFC 6455 that says what has to come of them.
//! It must never know more than entry and model; they are shared with the tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/websocket/tests/hostile/entry.rs"]
mod entry;
#[path = "../../crates/websocket/tests/hostile/model.rs"]
mod model;

fuzz_target!(|data: &[u8]| entry::play(data));
