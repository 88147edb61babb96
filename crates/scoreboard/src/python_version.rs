//! The version of a Python, and that of the workers of a group, in a word of its scoreboard. It must never know a Python.
#![forbid(unsafe_code)]

use crate::board::{PYTHON, Scoreboard};
use std::fmt::{self, Display};
use std::sync::atomic::Ordering;

/// Names of the phases before a release (PEP 440), by their number.
const PHASES: [&str; 4] = ["", "a", "b", "rc"];

/// The version of a Python. Each part is a byte, so that whatever stands in the memory has a short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PythonVersion {
    major: u8,
    minor: u8,
    micro: u8,
    /// The phase before the release, by its number in [`PHASES`], and the number in that phase.
    phase: u8,
    serial: u8,
    /// It is built to run without its lock.
    is_free_threaded: bool,
}

impl PythonVersion {
    /// That of a text such as `3.11.2` or `3.14.0rc1`; what stands behind that is left out.
    pub fn parse(text: &str, is_free_threaded: bool) -> Option<Self> {
        let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
        let (release, rest) = text.split_at_checked(end)?;
        let mut numbers = release.split('.').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let (major, minor, micro) = (next()?, next()?, next()?);
        let serial_of = |phase: &str| {
            let rest = rest.strip_prefix(phase)?;
            let digits = rest.split(|it: char| !it.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        let phases = PHASES.into_iter().zip(0..).skip(1);
        let (phase, serial) = phases
            .filter_map(|(name, number)| Some((number, serial_of(name)?)))
            .next()
            .unwrap_or_default();
        Some(Self { major, minor, micro, phase, serial, is_free_threaded })
    }

    /// The tag of its ABI in names of wheels, such as `cp311` or `cp313t`.
    pub fn abi(self) -> String {
        let suffix = if self.is_free_threaded { "t" } else { "" };
        format!("cp{}{}{suffix}", self.major, self.minor)
    }

    const fn word(self) -> u64 {
        let Self { major, minor, micro, phase, serial, is_free_threaded } = self;
        u64::from_be_bytes([0, 0, is_free_threaded as u8, major, minor, micro, phase, serial])
    }

    fn of_word(word: u64) -> Option<Self> {
        let [_, _, free_threaded, major, minor, micro, phase, serial] = word.to_be_bytes();
        let is_free_threaded = free_threaded != 0;
        (major != 0).then_some(Self { major, minor, micro, phase, serial, is_free_threaded })
    }
}

impl Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, micro, phase, serial, .. } = self;
        write!(f, "{major}.{minor}.{micro}")?;
        match PHASES.get(usize::from(*phase)) {
            None | Some(&"") => Ok(()),
            Some(phase) => write!(f, "{phase}{serial}"),
        }
    }
}

impl Scoreboard<'_> {
    /// Notes the Python of a worker that starts.
    pub fn set_python(&self, version: PythonVersion) {
        if let Some(word) = self.words.get(PYTHON) {
            word.store(version.word(), Ordering::Relaxed);
        }
    }

    /// The Python of the worker that was started last; `None` where the group has had no worker.
    pub fn python(&self) -> Option<PythonVersion> {
        PythonVersion::of_word(self.words.get(PYTHON)?.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn version_has_a_text_and_an_abi_and_stands_in_the_memory_of_its_group() {
        let words: Vec<_> = (0..Scoreboard::size(1, 1)).map(|_| AtomicU64::new(0)).collect();
        let board = Scoreboard::new(&words, 1, 1);
        assert_eq!(board.python(), None);
        for (text, is_free_threaded, shown, abi) in [
            ("3.11.2", false, "3.11.2", "cp311"),
            ("3.13.5", true, "3.13.5", "cp313t"),
            ("3.14.0rc1+", false, "3.14.0rc1", "cp314"),
            ("3.15.0a12", false, "3.15.0a12", "cp315"),
            ("3.12.4+local", false, "3.12.4", "cp312"),
        ] {
            let version = PythonVersion::parse(text, is_free_threaded).unwrap();
            assert_eq!((version.to_string(), version.abi()), (shown.to_owned(), abi.to_owned()));
            board.set_python(version);
            assert_eq!(board.python(), Some(version));
        }
        for text in ["", "3", "3.11", "3.x.1", "3.300.1"] {
            assert_eq!(PythonVersion::parse(text, false), None, "{text}");
        }
    }

    #[test]
    fn any_word_is_none_or_has_a_short_text() {
        for word in [0, 1, u64::MAX, 0x0300_0000_00ff] {
            let text = PythonVersion::of_word(word).map(|it| format!("{it} {}", it.abi()));
            assert!(text.is_none_or(|text| text.len() < 32));
        }
    }
}
