//! What a misspelt word was probably meant to be. It never knows what the words are for.

/// ` (did you mean "word"?)` with the most similar of the `known` words, or nothing where none of them is similar.
/// The letters' case counts for nothing.
pub(crate) fn did_you_mean<K: AsRef<[u8]>>(
    word: &[u8],
    known: impl IntoIterator<Item = K>,
) -> String {
    let lower = |word: &[u8]| String::from_utf8_lossy(word).to_lowercase();
    // Longer words are no slips of the pen; the comparison takes time that grows with the square.
    const MAX_LENGTH: usize = 100;
    if word.len() > MAX_LENGTH {
        return String::new();
    }
    let (written, word) = (word, lower(word));
    let letters = word.chars().count();
    // One slip in a short word, one more for every four letters: "a" is not meant to be "b".
    let most = (1 + letters / 4).min(letters.saturating_sub(1));
    let similar = |candidate: K| {
        let candidate = candidate.as_ref();
        // What is right already is not what is wrong with it.
        if candidate.len() > MAX_LENGTH || candidate == written {
            return None;
        }
        let lower = lower(candidate);
        // That many letters are missing or too many at least: of a thousand groups few are compared.
        let distance = (lower.chars().count().abs_diff(letters) <= most)
            .then(|| strsim::osa_distance(&word, &lower))
            .filter(|distance| *distance <= most)?;
        Some((distance, String::from_utf8_lossy(candidate).into_owned()))
    };
    match known.into_iter().filter_map(similar).min_by_key(|(distance, _)| *distance) {
        Some((_, name)) => format!(" (did you mean \"{name}\"?)"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_word_is_suggested_and_no_other() {
        let known = ["python-home", "python-path", "home", "user", "threads", "a"];
        for (word, expected) in [
            ("python-hom", Some("python-home")),
            ("pyhton-path", Some("python-path")),
            ("Threads", Some("threads")),
            ("thread", Some("threads")),
            ("usr", Some("user")),
            ("workers", None),
            ("b", None),
            ("A", Some("a")),
            ("a", None),
            ("", None),
            ("xxxxxxxxxxx", None),
        ] {
            let suggested = expected.map(|name| format!(" (did you mean \"{name}\"?)"));
            assert_eq!(
                did_you_mean(word.as_bytes(), known),
                suggested.unwrap_or_default(),
                "{word}"
            );
        }
        assert_eq!(did_you_mean(&[b'x'; 5000], ["x".repeat(4999)]), "");
    }
}
