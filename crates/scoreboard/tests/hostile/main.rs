//! Arbitrary words as a scoreboard, from proptest: applications can write to the memory.

mod entry;

use proptest::prelude::*;

/// Few threads are busy in arbitrary words, and few are states.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..300_u64, any::<u64>(), Just(u64::MAX)]
}

proptest! {
    #[test]
    fn any_words_are_read_without_a_panic_and_texts_are_bounded(
        sizes in any::<u8>(),
        words in prop::collection::vec(word(), 0..700),
        rest in 0..8_usize,
    ) {
        let mut data = vec![sizes];
        words.iter().for_each(|word| data.extend_from_slice(&word.to_le_bytes()));
        data.extend(std::iter::repeat_n(0xff, rest));
        entry::read_board(&data);
    }
}
