//! Arbitrary words as a scoreboard, from proptest: applications can write to the memory.

mod entry;

use proptest::collection::vec;
use proptest::prelude::*;
use scoreboard::Scoreboard;

/// Few threads are busy in arbitrary words, and few are states.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..300_u64, any::<u64>(), Just(u64::MAX)]
}

/// The byte of a small board's sizes, and all of its words, or fewer.
fn board() -> impl Strategy<Value = (u8, Vec<u64>)> {
    (0..3_u8, 0..4_u8).prop_flat_map(|(slot, thread)| {
        let sizes = thread << 4 | slot;
        let (slots, threads) = entry::sizes_of(sizes);
        let size = Scoreboard::size(slots, threads);
        let words = prop_oneof![vec(word(), size), vec(word(), 0..size)];
        (Just(sizes), words)
    })
}

proptest! {
    // A board has thousands of words.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_words_are_read_without_a_panic_and_texts_are_bounded(
        (sizes, words) in board(),
        rest in 0..8_usize,
    ) {
        let mut data = vec![sizes];
        words.iter().for_each(|word| data.extend_from_slice(&word.to_le_bytes()));
        data.extend(std::iter::repeat_n(0xff, rest));
        entry::read_board(&data);
    }
}
