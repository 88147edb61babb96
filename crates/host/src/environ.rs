//! The environ of one request: a copy of what is the same for all, and the transport's variables.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Raised, Result, Shelf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::{Environ, Key};

/// The interned names of one interpreter, and its memory of values that come again and again.
pub(crate) struct Names {
    keys: Vec<Shelf>,
    /// By [`Key`].
    steady: Memory,
    /// By [`place`], the variables of headers.
    headers: Memory,
}

type Memory = Mutex<Vec<Option<Known>>>;

/// Bytes from the server, and the `str` that was made of them.
struct Known {
    bytes: Box<[u8]>,
    text: Shelf,
}

/// How many header names are remembered. A client that sends others only makes us forget.
const HEADER_NAMES: usize = 128;
/// Values longer than this are not remembered.
const STEADY_LENGTH: usize = 256;

impl Names {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        let mut keys = Vec::with_capacity(Key::ALL.len());
        for key in Key::ALL {
            keys.push(Shelf::keep(py.interned(key.name())?));
        }
        let steady = Key::ALL.iter().map(|_| None).collect();
        let headers = (0..HEADER_NAMES).map(|_| None).collect();
        Ok(Self { keys, steady: Mutex::new(steady), headers: Mutex::new(headers) })
    }

    fn key<'py>(&self, py: Attached<'py>, key: Key) -> Result<'py, Object<'py>> {
        match self.keys.get(key as usize) {
            Some(kept) => Ok(kept.get(py)),
            None => py.str(key.name()),
        }
    }

    fn value<'py>(&self, py: Attached<'py>, key: Key, value: &[u8]) -> Result<'py, Object<'py>> {
        if !key.is_steady() || value.len() > STEADY_LENGTH {
            return text(py, key, value);
        }
        recall(&self.steady, key as usize, value, py, || text(py, key, value))
    }

    /// `HTTP_` and the header's name in upper case, `-` as `_`.
    fn header<'py>(&self, py: Attached<'py>, name: &[u8]) -> Result<'py, Object<'py>> {
        if name.len() > STEADY_LENGTH {
            return header_variable(py, name);
        }
        recall(&self.headers, place(name), name, py, || header_variable(py, name))
    }
}

/// Builds one request's environ. The first error stops it; nothing raised is overwritten.
pub(crate) struct Builder<'a, 'py> {
    names: &'a Names,
    dict: Object<'py>,
    failed: Result<'py, ()>,
}

impl<'a, 'py> Builder<'a, 'py> {
    /// Starts from a copy of `template`.
    pub(crate) fn new(names: &'a Names, template: &Object<'py>) -> Result<'py, Self> {
        Ok(Self { names, dict: template.dict_copy()?, failed: Ok(()) })
    }

    /// Adds what the gateway itself knows.
    pub(crate) fn put(&mut self, name: &Object<'py>, value: &Object<'py>) -> Result<'py, ()> {
        self.dict.set_item(name, value)
    }

    /// What it says so far under a name.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let found = || match self.dict.item(&self.dict.py().str(name)?)? {
            Some(value) if value.is_str() => value.to_text().map(Some),
            _ => Ok(None),
        };
        found().unwrap_or_else(|raised: Raised<'py>| {
            raised.clear();
            None
        })
    }

    /// The finished environ.
    pub(crate) fn finish(self) -> Result<'py, Object<'py>> {
        self.failed.map(|()| self.dict)
    }

    fn attempt(&mut self, step: impl FnOnce(&Self) -> Result<'py, ()>) {
        if self.failed.is_ok() {
            self.failed = step(self);
        }
    }
}

impl Environ for Builder<'_, '_> {
    fn set(&mut self, key: Key, value: &[u8]) {
        self.attempt(|this| {
            let py = this.dict.py();
            let value = this.names.value(py, key, value)?;
            this.dict.set_item(&this.names.key(py, key)?, &value)
        });
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        self.attempt(|this| {
            let py = this.dict.py();
            this.dict.set_item(&this.names.header(py, name)?, &py.latin1(value)?)
        });
    }

    fn other(&mut self, name: &[u8], value: &[u8]) {
        // `HTTPS` has told its tale in wsgi.url_scheme; PATH is Apache's own; the rest of the
        // prefix is between the two ends of the daemon's wire.
        if matches!(name, b"HTTPS" | b"PATH") || name.starts_with(b"mod_wsgi.x-") {
            return;
        }
        self.attempt(|this| {
            let py = this.dict.py();
            this.dict.set_item(&py.latin1(name)?, &py.latin1(value)?)
        });
    }

    fn time(&mut self, key: Key, micros: i64) {
        self.attempt(|this| {
            let py = this.dict.py();
            this.dict.set_item(&this.names.key(py, key)?, &py.float(micros as f64 / 1e6)?)
        });
    }
}

fn text<'py>(py: Attached<'py>, key: Key, value: &[u8]) -> Result<'py, Object<'py>> {
    if key.is_path() { py.path(value) } else { py.latin1(value) }
}

fn header_variable<'py>(py: Attached<'py>, name: &[u8]) -> Result<'py, Object<'py>> {
    let mut variable = String::with_capacity(name.len() + 5);
    variable.push_str("HTTP_");
    for &byte in name {
        variable.push(if byte == b'-' { '_' } else { byte.to_ascii_uppercase() as char });
    }
    // Not interned: interned strings are immortal in Python 3.12, and clients choose these names.
    py.str(&variable)
}

/// Where in the table a header's name belongs (FNV-1a).
fn place(name: &[u8]) -> usize {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as usize % HEADER_NAMES
}

/// What is remembered of `bytes` at a place, else what `make` makes of them, which is remembered.
///
/// Threads wait here while they are attached. So nothing is done under the lock that may wait for other
/// threads in its turn: where Python has no lock, making an object and even giving one back may.
fn recall<'py>(
    memory: &Memory,
    place: usize,
    bytes: &[u8],
    py: Attached<'py>,
    make: impl FnOnce() -> Result<'py, Object<'py>>,
) -> Result<'py, Object<'py>> {
    let known = |slot: &Option<Known>| {
        slot.as_ref().filter(|known| *known.bytes == *bytes).map(|known| known.text.get(py))
    };
    if let Some(text) = lock(memory).get(place).and_then(known) {
        return Ok(text);
    }
    let text = make()?;
    let new = Known { bytes: bytes.into(), text: Shelf::keep(text.clone()) };
    let forgotten = match lock(memory).get_mut(place) {
        Some(slot) => slot.replace(new),
        None => Some(new),
    };
    if let Some(forgotten) = forgotten {
        forgotten.text.clear(py);
    }
    Ok(text)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
