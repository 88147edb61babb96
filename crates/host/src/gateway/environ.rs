//! The environ of one request: a copy of what is the same for all, and the transport's variables.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Persistent, Raised, Result};
use crate::interpreters::keys::InternedKeys;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::{CommonVariables, Environ, Key};

/// The interned keys of one interpreter, and `str` objects of values that many requests share.
pub(crate) struct EnvironCache {
    keys: Vec<Persistent>,
    /// By [`Key`].
    steady: TextCache,
    /// By [`name_hash_slot`], the keys of headers.
    headers: TextCache,
    templates: Mutex<TemplateCache>,
    /// The name of the callable, in slot 0.
    callable: TextCache,
}

/// Environs as far as their common variables make them.
#[derive(Default)]
struct TemplateCache {
    known: Vec<CachedEnviron>,
    /// The index of the one that is replaced next.
    oldest: usize,
}

struct CachedEnviron {
    block: Box<[u8]>,
    callable: Box<[u8]>,
    application_group: Box<[u8]>,
    dict: Persistent,
}

/// The variables that all requests of an application share.
pub(crate) struct EnvironPrefix<'a> {
    /// The variables that the configuration determines.
    pub(crate) template: &'a Persistent,
    pub(crate) keys: &'a InternedKeys,
    pub(crate) callable: &'a [u8],
    pub(crate) application_group: &'a [u8],
}

type TextCache = Mutex<Vec<Option<CachedText>>>;

/// Bytes from the server, and the `str` that was made of them.
struct CachedText {
    bytes: Box<[u8]>,
    text: Persistent,
}

/// How many header names are cached. A client that sends others only replaces them.
const HEADER_SLOTS: usize = 128;
/// Names and values of more bytes than this are not cached.
const MAX_CACHED_LENGTH: usize = 256;
/// How many environs are cached, at 5 KB each, and up to how many bytes of common variables. A client can cause new
/// ones (with other `Host` headers, where `UseCanonicalName` is off), which replace others.
const MAX_CACHED_ENVIRONS: usize = 32;
const MAX_BLOCK_LENGTH: usize = 8192;

impl EnvironCache {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        let mut keys = Vec::with_capacity(Key::ALL.len());
        for key in Key::ALL {
            keys.push(Persistent::new(py.interned(key.name())?));
        }
        let steady = Key::ALL.iter().map(|_| None).collect();
        let headers = (0..HEADER_SLOTS).map(|_| None).collect();
        Ok(Self {
            keys,
            steady: Mutex::new(steady),
            headers: Mutex::new(headers),
            templates: Mutex::default(),
            callable: Mutex::new(vec![None]),
        })
    }

    /// The name of a callable as a `str`; a process rarely has more than one.
    pub(crate) fn callable<'py>(&self, py: Attached<'py>, name: &[u8]) -> Result<'py, Object<'py>> {
        cached_text(&self.callable, 0, name, py, || py.latin1(name))
    }

    /// A new environ with the variables of `prefix` and the common variables of the requests of a client connection.
    fn environ_with<'py>(
        &self,
        py: Attached<'py>,
        beginning: &EnvironPrefix<'_>,
        steady: &CommonVariables,
    ) -> Result<'py, Object<'py>> {
        let same = |environ_with: &CachedEnviron| {
            *environ_with.block == *steady.as_bytes()
                && *environ_with.callable == *beginning.callable
                && *environ_with.application_group == *beginning.application_group
        };
        // Not copied under the lock: a copy may set off a garbage collection, and with it any Python code.
        let known = {
            let templates = lock(&self.templates);
            let place =
                Some(steady.cache_hint()).filter(|at| templates.known.get(*at).is_some_and(same));
            let place = place.or_else(|| templates.known.iter().position(same));
            place.and_then(|place| {
                steady.set_cache_hint(place);
                templates.known.get(place).map(|environ_with| environ_with.dict.get(py))
            })
        };
        if let Some(known) = known {
            return known.dict_copy();
        }
        let dict = beginning.dict(py)?;
        for (key, value) in steady.iter() {
            dict.set_item(&self.key(py, key)?, &self.value(py, key, value)?)?;
        }
        if steady.as_bytes().len() > MAX_BLOCK_LENGTH {
            return Ok(dict);
        }
        self.reserve(&dict)?;
        let new = CachedEnviron {
            block: steady.as_bytes().into(),
            callable: beginning.callable.into(),
            application_group: beginning.application_group.into(),
            dict: Persistent::new(dict.clone()),
        };
        let (place, old) = lock(&self.templates).insert(new);
        steady.set_cache_hint(place);
        if let Some(old) = old {
            old.dict.clear(py);
        }
        dict.dict_copy()
    }

    /// Grows a dict to the size that its copies will have, so that none of them has to grow: CPython copies a
    /// dict with its capacity, unless more than a third of its entries have been removed.
    fn reserve<'py>(&self, dict: &Object<'py>) -> Result<'py, ()> {
        let py = dict.py();
        let names = Key::ALL.into_iter().map(|key| self.key(py, key));
        let mut fillers = Vec::new();
        for name in names {
            let name = name?;
            if fillers.len() < dict.length()? / 2 && dict.item(&name)?.is_none() {
                fillers.push(name);
            }
        }
        fillers.iter().try_for_each(|name| dict.set_item(name, &py.none()))?;
        fillers.iter().try_for_each(|name| dict.remove_item(name))
    }

    fn key<'py>(&self, py: Attached<'py>, key: Key) -> Result<'py, Object<'py>> {
        match self.keys.get(key as usize) {
            Some(kept) => Ok(kept.get(py)),
            None => py.str(key.name()),
        }
    }

    fn value<'py>(&self, py: Attached<'py>, key: Key, value: &[u8]) -> Result<'py, Object<'py>> {
        if !key.is_cacheable() || value.len() > MAX_CACHED_LENGTH {
            return text(py, key, value);
        }
        cached_text(&self.steady, key as usize, value, py, || text(py, key, value))
    }

    /// `HTTP_` and the header's name in upper case, `-` as `_`.
    fn header<'py>(&self, py: Attached<'py>, name: &[u8]) -> Result<'py, Object<'py>> {
        if name.len() > MAX_CACHED_LENGTH {
            return header_variable(py, name);
        }
        cached_text(&self.headers, name_hash_slot(name), name, py, || header_variable(py, name))
    }
}

impl TemplateCache {
    /// Adds an environ; returns its index, and the one that it replaces.
    fn insert(&mut self, new: CachedEnviron) -> (usize, Option<CachedEnviron>) {
        if self.known.len() < MAX_CACHED_ENVIRONS {
            self.known.push(new);
            return (self.known.len() - 1, None);
        }
        let place = self.oldest;
        self.oldest = (place + 1) % MAX_CACHED_ENVIRONS;
        (place, self.known.get_mut(place).map(|old| std::mem::replace(old, new)))
    }
}

impl EnvironPrefix<'_> {
    fn dict<'py>(&self, py: Attached<'py>) -> Result<'py, Object<'py>> {
        let dict = self.template.get(py).dict_copy()?;
        let keys = self.keys;
        dict.set_item(&keys.application_group.get(py), &py.latin1(self.application_group)?)?;
        dict.set_item(&keys.callable_object.get(py), &py.latin1(self.callable)?)?;
        Ok(dict)
    }
}

/// Builds one request's environ. After an error nothing more is added, so that the exception stays the one that is
/// set.
pub(crate) struct Builder<'a, 'py> {
    names: &'a EnvironCache,
    /// Where there is a prefix that cached environs are made from.
    beginning: Option<EnvironPrefix<'a>>,
    dict: Object<'py>,
    failed: Result<'py, ()>,
}

impl<'a, 'py> Builder<'a, 'py> {
    /// Fills `dict`.
    pub(crate) fn of(names: &'a EnvironCache, dict: Object<'py>) -> Self {
        Self { names, beginning: None, dict, failed: Ok(()) }
    }

    /// For a request to an application; `fill` adds the transport's variables.
    pub(crate) fn begin(
        py: Attached<'py>,
        names: &'a EnvironCache,
        beginning: EnvironPrefix<'a>,
        fill: impl FnOnce(&mut dyn Environ),
    ) -> Self {
        // Most transports begin with common variables, which make the dict.
        let mut builder =
            Self { names, dict: py.none(), beginning: Some(beginning), failed: Ok(()) };
        fill(&mut builder);
        builder.start();
        builder
    }

    /// Makes the dict, unless there is one.
    fn start(&mut self) {
        if let Some(beginning) = self.beginning.take() {
            match beginning.dict(self.dict.py()) {
                Ok(dict) => self.dict = dict,
                Err(raised) => self.failed = Err(raised),
            }
        }
    }

    /// Adds a variable of the gateway's own.
    pub(crate) fn put(&mut self, name: &Object<'py>, value: &Object<'py>) -> Result<'py, ()> {
        // Without a dict `finish` returns the exception.
        if self.failed.is_ok() { self.dict.set_item(name, value) } else { Ok(()) }
    }

    /// The variables that have been added, as a dict; Python's `None` where there is none.
    pub(crate) const fn so_far(&self) -> &Object<'py> {
        &self.dict
    }

    /// The text of a variable that has been added.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.read(name, |value| value.is_str().then(|| value.to_text()).transpose())
    }

    /// The number of a variable that has been added.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.read(name, |value| value.as_f64().map(Some))
    }

    /// What `read` makes of a variable; `None` where it raises.
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
        match self.names.environ_with(self.dict.py(), &beginning, steady) {
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
        // wsgi.url_scheme carries `HTTPS`; PATH is Apache's own; variables with the prefix are internal to the
        // connection between Apache and a daemon process.
        if matches!(name, b"HTTPS" | b"PATH") || wsgi::is_private_variable(name) {
            return;
        }
        self.attempt(|this| {
            let py = this.dict.py();
            let variable = py.latin1(name)?;
            // A request must not overwrite the gateway's own variables.
            if is_gateway_key(name) && this.dict.item(&variable)?.is_some() {
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

/// Whether a name has a prefix that is reserved for the server and the gateway (PEP 3333).
fn is_gateway_key(name: &[u8]) -> bool {
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

/// The slot of a header's name in the cache (FNV-1a).
fn name_hash_slot(name: &[u8]) -> usize {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as usize % HEADER_SLOTS
}

/// The `str` that is cached for `bytes` in a slot, else what `make` makes of them, which is cached.
///
/// Threads wait for the lock while they are attached. So nothing is done under it that may wait for other
/// threads: where Python has no lock, making an object and even releasing one may.
fn cached_text<'py>(
    memory: &TextCache,
    place: usize,
    bytes: &[u8],
    py: Attached<'py>,
    make: impl FnOnce() -> Result<'py, Object<'py>>,
) -> Result<'py, Object<'py>> {
    let known = |slot: &Option<CachedText>| {
        slot.as_ref().filter(|known| *known.bytes == *bytes).map(|known| known.text.get(py))
    };
    if let Some(text) = lock(memory).get(place).and_then(known) {
        return Ok(text);
    }
    let text = make()?;
    let new = CachedText { bytes: bytes.into(), text: Persistent::new(text.clone()) };
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
