//! The environ of one request: a copy of what is the same for all, and the transport's variables.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Raised, Result, Shelf};
use crate::interpreters::keys::Words;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::{CommonVariables, Environ, Key};

/// The interned names of one interpreter, and its memory of values that come again and again.
pub(crate) struct Names {
    keys: Vec<Shelf>,
    /// By [`Key`].
    steady: Memory,
    /// By [`place`], the variables of headers.
    headers: Memory,
    bases: Mutex<Bases>,
    /// What was last called.
    callable: Memory,
}

/// Environs as far as a [`CommonVariables`] makes them.
#[derive(Default)]
struct Bases {
    known: Vec<Base>,
    /// Which one goes next when there are too many.
    oldest: usize,
}

struct Base {
    block: Box<[u8]>,
    callable: Box<[u8]>,
    application_group: Box<[u8]>,
    dict: Shelf,
}

/// What every request of an application begins with.
pub(crate) struct Beginning<'a> {
    /// The environ before anything is known of a request.
    pub(crate) template: &'a Shelf,
    pub(crate) words: &'a Words,
    pub(crate) callable: &'a [u8],
    pub(crate) application_group: &'a [u8],
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
/// How many bases are remembered, at 5 KB each, and up to how many bytes of block. A client can make new
/// ones (with other `Host` headers, where `UseCanonicalName` is off), and only makes us forget.
const BASES: usize = 32;
const BLOCK_LENGTH: usize = 8192;

impl Names {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        let mut keys = Vec::with_capacity(Key::ALL.len());
        for key in Key::ALL {
            keys.push(Shelf::keep(py.interned(key.name())?));
        }
        let steady = Key::ALL.iter().map(|_| None).collect();
        let headers = (0..HEADER_NAMES).map(|_| None).collect();
        Ok(Self {
            keys,
            steady: Mutex::new(steady),
            headers: Mutex::new(headers),
            bases: Mutex::default(),
            callable: Mutex::new(vec![None]),
        })
    }

    /// The name of a callable, which hardly ever is another one than before.
    pub(crate) fn callable<'py>(&self, py: Attached<'py>, name: &[u8]) -> Result<'py, Object<'py>> {
        recall(&self.callable, 0, name, py, || py.latin1(name))
    }

    /// A new environ that says what is in `steady`.
    fn base<'py>(
        &self,
        py: Attached<'py>,
        beginning: &Beginning<'_>,
        steady: &CommonVariables,
    ) -> Result<'py, Object<'py>> {
        let same = |base: &Base| {
            *base.block == *steady.as_bytes()
                && *base.callable == *beginning.callable
                && *base.application_group == *beginning.application_group
        };
        // A copy may set off a garbage collection, and with it any Python code: not under the lock.
        let known = {
            let bases = lock(&self.bases);
            let place =
                Some(steady.cache_hint()).filter(|at| bases.known.get(*at).is_some_and(same));
            let place = place.or_else(|| bases.known.iter().position(same));
            place.and_then(|place| {
                steady.set_cache_hint(place);
                bases.known.get(place).map(|base| base.dict.get(py))
            })
        };
        if let Some(known) = known {
            return known.dict_copy();
        }
        let dict = beginning.dict(py)?;
        for (key, value) in steady.iter() {
            dict.set_item(&self.key(py, key)?, &self.value(py, key, value)?)?;
        }
        if steady.as_bytes().len() > BLOCK_LENGTH {
            return Ok(dict);
        }
        self.make_room(&dict)?;
        let new = Base {
            block: steady.as_bytes().into(),
            callable: beginning.callable.into(),
            application_group: beginning.application_group.into(),
            dict: Shelf::keep(dict.clone()),
        };
        let (place, old) = lock(&self.bases).remember(new);
        steady.set_cache_hint(place);
        if let Some(old) = old {
            old.dict.clear(py);
        }
        dict.dict_copy()
    }

    /// Lets a dict grow ahead of what its copies will hold, so that each of them need not: CPython copies a
    /// dict with all of its room, as long as no more than a third of what was ever in it has gone.
    fn make_room<'py>(&self, dict: &Object<'py>) -> Result<'py, ()> {
        let py = dict.py();
        let names = Key::ALL.into_iter().map(|key| self.key(py, key));
        let mut guests = Vec::new();
        for name in names {
            let name = name?;
            if guests.len() < dict.length()? / 2 && dict.item(&name)?.is_none() {
                guests.push(name);
            }
        }
        guests.iter().try_for_each(|name| dict.set_item(name, &py.none()))?;
        guests.iter().try_for_each(|name| dict.remove_item(name))
    }

    fn key<'py>(&self, py: Attached<'py>, key: Key) -> Result<'py, Object<'py>> {
        match self.keys.get(key as usize) {
            Some(kept) => Ok(kept.get(py)),
            None => py.str(key.name()),
        }
    }

    fn value<'py>(&self, py: Attached<'py>, key: Key, value: &[u8]) -> Result<'py, Object<'py>> {
        if !key.is_cacheable() || value.len() > STEADY_LENGTH {
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

impl Bases {
    /// Takes a base in, and tells its place and which one it had to forget.
    fn remember(&mut self, new: Base) -> (usize, Option<Base>) {
        if self.known.len() < BASES {
            self.known.push(new);
            return (self.known.len() - 1, None);
        }
        let place = self.oldest;
        self.oldest = (place + 1) % BASES;
        (place, self.known.get_mut(place).map(|old| std::mem::replace(old, new)))
    }
}

impl Beginning<'_> {
    fn dict<'py>(&self, py: Attached<'py>) -> Result<'py, Object<'py>> {
        let dict = self.template.get(py).dict_copy()?;
        let words = self.words;
        dict.set_item(&words.application_group.get(py), &py.latin1(self.application_group)?)?;
        dict.set_item(&words.callable_object.get(py), &py.latin1(self.callable)?)?;
        Ok(dict)
    }
}

/// Builds one request's environ. The first error stops it; nothing raised is overwritten.
pub(crate) struct Builder<'a, 'py> {
    names: &'a Names,
    /// Where there is a beginning that bases are made of.
    beginning: Option<Beginning<'a>>,
    dict: Object<'py>,
    failed: Result<'py, ()>,
}

impl<'a, 'py> Builder<'a, 'py> {
    /// Fills `dict`.
    pub(crate) fn of(names: &'a Names, dict: Object<'py>) -> Self {
        Self { names, beginning: None, dict, failed: Ok(()) }
    }

    /// For a request to an application, whose transport `fill`s in what it knows.
    pub(crate) fn begin(
        py: Attached<'py>,
        names: &'a Names,
        beginning: Beginning<'a>,
        fill: impl FnOnce(&mut dyn Environ),
    ) -> Self {
        // Most transports have something steady to say, which makes the dict.
        let mut builder =
            Self { names, dict: py.none(), beginning: Some(beginning), failed: Ok(()) };
        fill(&mut builder);
        builder.start();
        builder
    }

    /// Makes the dict, if nothing has made it yet.
    fn start(&mut self) {
        if let Some(beginning) = self.beginning.take() {
            match beginning.dict(self.dict.py()) {
                Ok(dict) => self.dict = dict,
                Err(raised) => self.failed = Err(raised),
            }
        }
    }

    /// Adds what the gateway itself knows.
    pub(crate) fn put(&mut self, name: &Object<'py>, value: &Object<'py>) -> Result<'py, ()> {
        // Without a dict `finish` tells why there is none.
        if self.failed.is_ok() { self.dict.set_item(name, value) } else { Ok(()) }
    }

    /// The text that it has so far under a name.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.read(name, |value| value.is_str().then(|| value.to_text()).transpose())
    }

    /// The number that it has so far under a name.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.read(name, |value| value.as_f64().map(Some))
    }

    /// What `read` makes of a value, which is nothing where it raises.
    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(Object<'py>) -> Result<'py, Option<T>>,
    ) -> Option<T> {
        let found = || match self.dict.item(&self.dict.py().str(name)?)? {
            Some(value) => read(value),
            None => Ok(None),
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
        self.start();
        if self.failed.is_ok() {
            self.failed = step(self);
        }
    }
}

impl Environ for Builder<'_, '_> {
    fn common(&mut self, steady: &CommonVariables) {
        let Some(beginning) = self.beginning.take() else {
            return steady.iter().for_each(|(key, value)| self.set(key, value));
        };
        match self.names.base(self.dict.py(), &beginning, steady) {
            Ok(dict) => self.dict = dict,
            Err(raised) => self.failed = Err(raised),
        }
    }

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
        if matches!(name, b"HTTPS" | b"PATH") || wsgi::is_private_variable(name) {
            return;
        }
        self.attempt(|this| {
            let py = this.dict.py();
            let variable = py.latin1(name)?;
            // What the gateway says of itself nobody else may say.
            if is_gateways(name) && this.dict.item(&variable)?.is_some() {
                return Ok(());
            }
            this.dict.set_item(&variable, &py.latin1(value)?)
        });
    }

    fn time(&mut self, key: Key, micros: i64) {
        self.attempt(|this| {
            let py = this.dict.py();
            this.dict.set_item(&this.names.key(py, key)?, &py.float(micros as f64 / 1e6)?)
        });
    }
}

/// Whether a name begins as those of gateways do.
fn is_gateways(name: &[u8]) -> bool {
    match name.first() {
        Some(b'w') => name.starts_with(b"wsgi."),
        Some(b'm') => name.starts_with(b"mod_wsgi."),
        Some(b'a') => name.starts_with(b"apache."),
        _ => false,
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
