//! Why a request has failed, or has been sent to a second worker: the codes of `WSGI_FLAGS`. It must never know what
//! becomes of the request.
//!
//! The flags of the request that a thread serves are kept with the thread, so that a request without any costs one
//! store and one load.
#![forbid(unsafe_code)]

pub(crate) use scoreboard::Flag;
use std::cell::Cell;
use std::fmt;

/// Any number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u32);

thread_local! {
    static CURRENT: Cell<u32> = const { Cell::new(0) };
}

const fn bit(flag: Flag) -> u32 {
    1 << flag as u32
}

/// Adds a flag to those of the request that the calling thread serves.
pub(crate) trait Note {
    /// Adds it.
    fn note(self);
}

impl Note for Flag {
    fn note(self) {
        CURRENT.set(CURRENT.get() | bit(self));
    }
}

impl Flags {
    /// The calling thread begins a request: those of the request in which it is, if it is in one. They are to be given
    /// back to [`Flags::end`].
    pub(crate) fn begin() -> Self {
        Self(CURRENT.replace(0))
    }

    /// The calling thread has served its request: its flags. `outer` is what [`Flags::begin`] has given.
    pub(crate) fn end(outer: Self) -> Self {
        Self(CURRENT.replace(outer.0))
    }

    /// Those of the request that the calling thread serves, so far.
    pub(crate) fn so_far() -> Self {
        Self(CURRENT.get())
    }

    /// The calling thread goes on with a request that had these before; as [`Flags::begin`].
    pub(crate) fn resume(self) -> Self {
        Self(CURRENT.replace(self.0))
    }

    /// Those whose bits are set; bits that are none are left out.
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Each as a bit, by its number.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Whether the request has failed, and was not only sent again.
    pub(crate) const fn are_of_a_failure(self) -> bool {
        self.0 & !(bit(Flag::Outdated) | bit(Flag::Retried)) != 0
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`Flag::ALL`].
    pub(crate) fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.0 & bit(*flag) != 0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, flag) in self.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(f, "{separator}{}", flag.code())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_inside_of_another_has_flags_of_its_own() {
        let outside = Flags::begin();
        Flag::Retried.note();
        let outer = Flags::begin();
        Flag::Crashed.note();
        Flag::Retried.note();
        assert_eq!(Flags::end(outer).to_string(), "RY,CR");
        let flags = Flags::end(outside);
        assert_eq!((flags.to_string(), flags.is_empty()), ("RY".to_owned(), false));
        assert!(Flags::end(Flags::begin()).is_empty());
        // Another thread goes on with a request.
        let outer = flags.resume();
        Flag::Cut.note();
        assert_eq!(Flags::so_far().to_string(), "RY,XB");
        assert_eq!(Flags::end(outer).to_string(), "RY,XB");
    }
}
