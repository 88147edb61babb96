//! The fuzz entry, fed by proptest: bytes at random, and recipes of frames that nearly make sense.
//! It must never know what a good answer would be; the model knows.

mod entry;
mod model;

use proptest::collection::vec;
use proptest::prelude::*;

/// A frame of a recipe: its opcode and end, whether it is masked, and a payload.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(1_u8), 4 => Just(2), 5 => Just(0), 3 => Just(9), 1 => Just(10), 1 => Just(8), 1 => 0..16_u8,
    ];
    let first =
        prop_oneof![6 => Just(0x80_u8), 4 => Just(0), 1 => (0..8_u8).prop_map(|it| it << 4)];
    let payload = prop_oneof![
        3 => "[a-z€ü😀]{0,9}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..30),
        1 => Just(b"\xe2\x82".to_vec()),
        1 => Just(b"\xac".to_vec()),
        2 => (900..5100_u16, "[a-zü]{0,62}")
            .prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    ];
    let how = prop_oneof![20 => Just(0_u8), 4 => 1..3_u8, 1 => any::<u8>()];
    (first, opcode, how, any::<u8>(), payload).prop_map(|(first, opcode, how, fill, payload)| {
        let size = payload.len() as u8;
        let payload = if matches!(how & 3, 1 | 2) { Vec::new() } else { payload };
        [&[first | opcode, how, size, fill][..], &payload].concat()
    })
}

proptest! {
    #[test]
    fn any_bytes_are_heard_and_answered_as_rfc_6455_says(
        play in any::<[u8; 4]>(),
        frames in vec(frame(), 0..12),
        rest in vec(any::<u8>(), 0..20),
    ) {
        // A recipe ends with a header without its payload, which is bytes at random if it is played as it is.
        entry::play(&[&play[..], &frames.concat(), &rest].concat());
    }
}
