//! `wsgi.errors`, and the stream under `sys.stderr` and `sys.stdout`: each line of text becomes a record of
//! Apache's error log.

use crate::cpython::{
    Arguments, Attached, Class, ExceptionKind, Instance, Method, Object, Property, Result,
};
use crate::gateway::current;
use crate::gateway::lease::Lease;
use crate::gateway::response::Response;
use crate::log::SharedLog;
use crate::objects::json_line::{JsonLine, JsonSource};
use crate::objects::task_log::with_task_log;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};
use wsgi::Level;

/// A stream into the error log. It takes `str` and bytes alike, so that it is its own `buffer`.
pub(crate) struct Log {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    pub(crate) target: LogTarget,
    /// `WSGILogFormat json`: what its lines say beside their text.
    pub(crate) json: Option<Arc<JsonSource>>,
    /// The number that `fileno()` gives: what is written to it reaches a log as well.
    pub(crate) descriptor: Option<i64>,
}

/// Whose log a [`Log`] writes to.
pub(crate) enum LogTarget {
    /// That of one request, until it ends.
    Request(Arc<Lease>),
    /// That of the request the calling thread serves, else the server's.
    Thread { server: SharedLog, unfinished: Unfinished },
}

/// Text of each thread that waits for its newline: `print` writes a line in pieces, and those of several threads
/// must not get mixed.
#[derive(Default)]
pub(crate) struct Unfinished(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Unfinished {
    /// How many threads may have an unfinished line: a thread that ends leaves its text here.
    const MAX_PENDING_THREADS: usize = 64;

    /// Takes a text of the calling thread; gives the lines that are complete now. Does not block.
    fn add(&self, text: &[u8]) -> Vec<u8> {
        let thread = Attached::thread_ident();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(thread).or_default();
        own.extend_from_slice(text);
        let Some(last) = own.iter().rposition(|&byte| byte == b'\n') else {
            if all.len() <= Self::MAX_PENDING_THREADS {
                return Vec::new();
            }
            return std::mem::take(&mut *all).into_values().collect::<Vec<_>>().join(&b'\n');
        };
        let rest = own.split_off(last + 1);
        let lines = std::mem::replace(own, rest);
        if own.is_empty() {
            all.remove(&thread);
        }
        lines
    }

    /// Takes what all threads have left unfinished, a line each.
    fn take_all(&self) -> Vec<u8> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all).into_values().collect::<Vec<_>>().join(&b'\n')
    }

    /// Takes what the calling thread has left unfinished.
    fn take(&self) -> Vec<u8> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&Attached::thread_ident()).unwrap_or_default()
    }
}

impl Log {
    pub(crate) fn of_request(lease: Arc<Lease>, json: Option<Arc<JsonSource>>) -> Self {
        let target = LogTarget::Request(lease);
        Self { name: "<wsgi.errors>", level: Level::Error, target, json, descriptor: None }
    }

    pub(crate) fn of_thread(
        name: &'static str,
        level: Level,
        server: SharedLog,
        json: Option<Arc<JsonSource>>,
        descriptor: Option<i64>,
    ) -> Self {
        let target = LogTarget::Thread { server, unfinished: Unfinished::default() };
        Self { name, level, target, json, descriptor }
    }

    /// How its lines are written, where they are JSON. `request_id` gives the identifier of the request that they are of.
    fn json_line(&self, request_id: impl FnOnce() -> Option<String>) -> Option<JsonLine> {
        let source = Arc::clone(self.json.as_ref()?);
        let stream = match self.name {
            "<stdout>" => "sys.stdout",
            "<stderr>" => "sys.stderr",
            _ => "wsgi.errors",
        };
        Some(JsonLine { source, stream, request_id: request_id() })
    }

    /// Writes to the log of the request, or of the server; `None` when the request has ended.
    fn write(&self, py: Attached<'_>, text: &[u8]) -> Option<()> {
        let json = self.json_line(|| current_request_id(py));
        let add = |request: &mut Response<'_>| request.log_text(self.level, text, json.as_ref());
        let to_request = |lease: &Lease| {
            // Only a complete line reaches the log file, and only that may block.
            if text.contains(&b'\n') { lease.with_detached(py, add) } else { lease.with(py, add) }
        };
        match &self.target {
            LogTarget::Request(lease) => to_request(lease),
            LogTarget::Thread { server, unfinished } => {
                if let Some(lease) = current::lease() {
                    return to_request(&lease);
                }
                if with_task_log(py, |log| log.text(self.level, text, json.as_ref())).is_some() {
                    return Some(());
                }
                let lines = unfinished.add(text);
                if !lines.is_empty() {
                    py.detached(|| log_lines(server, self.level, json.as_ref(), &lines));
                }
                Some(())
            }
        }
    }

    /// Makes a record of an unfinished line. Once a request has ended there is none any more.
    fn flush(&self, py: Attached<'_>) {
        let finish = |lease: &Lease| lease.with_unfinished_log(py);
        match &self.target {
            LogTarget::Request(lease) => finish(lease),
            LogTarget::Thread { server, unfinished } => {
                if let Some(lease) = current::lease() {
                    return finish(&lease);
                }
                let line = unfinished.take();
                if !line.is_empty() {
                    // What is kept here was written outside of requests, whichever one this thread serves now.
                    let json = self.json_line(|| None);
                    py.detached(|| log_lines(server, self.level, json.as_ref(), &line));
                }
            }
        }
    }
}

/// The identifier of the request in which the caller is.
fn current_request_id(py: Attached<'_>) -> Option<String> {
    let id = current::request_id(py).and_then(|id| match id.is_none() {
        true => Ok(None),
        false => id.to_text().map(Some),
    });
    id.unwrap_or_else(|raised| {
        raised.clear();
        None
    })
}

fn log_lines(server: &SharedLog, level: Level, json: Option<&JsonLine>, lines: &[u8]) {
    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match json {
            Some(json) => server.log(level, &json.of(level, line)),
            None => server.log(level, line),
        }
    }
}

type This<'a, 'py> = Instance<'a, 'py, Log>;

impl Class for Log {
    const NAME: &'static CStr = c"mod_wsgi.Log";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: c"write", call: write },
        Method { name: c"writelines", call: writelines },
        Method { name: c"flush", call: flush },
        Method { name: c"close", call: close },
        Method { name: c"isatty", call: no },
        Method { name: c"readable", call: no },
        Method { name: c"seekable", call: no },
        Method { name: c"writable", call: yes },
        Method { name: c"fileno", call: fileno },
    ];
    const PROPERTIES: &'static [Property<Self>] = &[
        Property { name: c"name", get: |this| this.py().str(this.name) },
        Property { name: c"closed", get: |this| Ok(this.py().bool(false)) },
        Property { name: c"encoding", get: |this| this.py().str("utf-8") },
        Property { name: c"errors", get: |this| this.py().str("replace") },
        Property { name: c"newlines", get: |this| Ok(this.py().none()) },
        Property { name: c"line_buffering", get: |this| Ok(this.py().bool(true)) },
        Property { name: c"buffer", get: |this| Ok(this.object().clone()) },
    ];
}

fn write<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("write", 1, 1)?;
    let py = this.py();
    let Some(data) = arguments.get(0) else { return Ok(py.none()) };
    let length = write_one(this, &data, "write")?;
    py.int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn writelines<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("writelines", 1, 1)?;
    let py = this.py();
    let Some(lines) = arguments.get(0) else { return Ok(py.none()) };
    let lines = lines.iter()?;
    while let Some(line) = lines.next()? {
        write_one(this, &line, "writelines")?;
    }
    Ok(py.none())
}

/// Writes one `str` or bytes-like object; returns its length in characters or bytes.
fn write_one<'py>(this: &This<'_, 'py>, data: &Object<'py>, method: &str) -> Result<'py, usize> {
    let py = this.py();
    let (text, length) = if data.is_str() {
        (data.utf8_replacing()?, data.length()?)
    } else {
        let bytes = data.buffer_copy()?;
        let length = bytes.len();
        (bytes, length)
    };
    this.write(py, &text).ok_or_else(|| completed(this, method))?;
    Ok(length)
}

fn flush<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("flush", 0, 0)?;
    Log::flush(this, this.py());
    Ok(this.py().none())
}

fn close<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    flush(this, arguments)?;
    if let LogTarget::Thread { server, unfinished } = &this.target {
        let (lines, level, json) = (unfinished.take_all(), this.level, this.json_line(|| None));
        this.py().detached(|| log_lines(server, level, json.as_ref(), &lines));
    }
    Ok(this.py().none())
}

fn no<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(false))
}

fn yes<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(true))
}

fn fileno<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    match this.descriptor {
        Some(descriptor) => this.py().int(descriptor),
        None => Err(this.py().raise(ExceptionKind::Os, "the error log has no file descriptor")),
    }
}

fn completed<'py>(this: &This<'_, 'py>, method: &str) -> crate::cpython::Raised<'py> {
    let text = format!("{method}() called on wsgi.errors after request completed");
    this.py().raise(ExceptionKind::Runtime, &text)
}
