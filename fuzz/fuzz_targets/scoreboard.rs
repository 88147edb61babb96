//! Fuzz target: any words where a scoreboard should be, which applications can write to.
//! It must never know more than the entry; that is shared with the tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/scoreboard/tests/hostile/entry.rs"]
mod entry;

fuzz_target!(|data: &[u8]| entry::read_board(data));
