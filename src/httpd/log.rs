//! Lines for Apache's error logs.

use super::module::module_index;
use super::server::Server;
use crate::bindings::{
    ap_log_error_, ap_log_rerror_, ap_logconf, ap_server_conf, request_rec, server_rec,
    shim_request_level, shim_server_level,
};
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use wsgi::Level;

/// Writes to the request's log (`ap_log_rerror`).
///
/// # Safety
/// `request` is live.
pub(super) unsafe fn log_request(
    request: *const request_rec,
    level: Level,
    line: &[u8],
    place: &SourceLocation,
) {
    // SAFETY: the caller's promise.
    if !unsafe { logs_request(request, level) } {
        return;
    }
    for piece in pieces(line) {
        // SAFETY: `%s` takes one NUL-terminated string, which outlives the call, as the file's name does.
        unsafe {
            ap_log_rerror_(
                place.file.as_ptr(),
                place.line,
                module_index(),
                level as c_int,
                0,
                request,
                c"%s".as_ptr(),
                piece.as_ptr(),
            );
        }
    }
}

/// Writes to the request's log what is not less serious than `threshold`, whatever its `LogLevel` says.
///
/// # Safety
/// `request` is live, and no other thread uses it.
pub(super) unsafe fn log_request_from(
    request: *mut request_rec,
    threshold: Level,
    level: Level,
    line: &[u8],
) {
    if level > threshold {
        return;
    }
    let levels = ap_logconf { module_levels: std::ptr::null_mut(), level: threshold as c_int };
    // SAFETY: the caller's promise; nothing between the two assignments panics or keeps the pointer, so that the request
    // has its own configuration of the log again before `levels` ends.
    unsafe {
        let own = (*request).log;
        (*request).log = &raw const levels;
        log_request(request, level, line, &SourceLocation::ours());
        (*request).log = own;
    }
}

/// Whether the request's log takes lines of this level.
///
/// # Safety
/// `request` is live.
pub(super) unsafe fn logs_request(request: *const request_rec, level: Level) -> bool {
    // SAFETY: the caller's promise.
    unsafe { shim_request_level(request, module_index()) >= level as c_int }
}

/// Where in a source file a line comes from, as `%F` of `ErrorLogFormat` shows it.
pub(crate) struct SourceLocation {
    file: Cow<'static, CStr>,
    line: c_int,
}

impl SourceLocation {
    pub(crate) fn new(file: &[u8], line: u32) -> Self {
        // A path with a NUL is none that could be opened.
        let file = Cow::Owned(CString::new(file).unwrap_or_default());
        Self { file, line: c_int::try_from(line).unwrap_or(c_int::MAX) }
    }

    /// Of our own lines: mod_wsgi's name, and no number.
    pub(super) const fn ours() -> Self {
        Self { file: Cow::Borrowed(c"mod_wsgi.c"), line: 0 }
    }
}

/// Writes to the server's log (`ap_log_error`).
pub(crate) fn log_server(server: Server<'_>, level: Level, line: &[u8]) {
    // SAFETY: the configuration of a `Server` is not destroyed during its lifetime (`Server::from_raw`).
    unsafe { log_raw(server.as_ptr(), level, line, &SourceLocation::ours()) };
}

/// Writes to the server's log what is not less serious than `threshold`, whatever its `LogLevel` says. Only in a process with
/// one thread.
pub(crate) fn log_server_from(server: Server<'_>, threshold: Level, level: Level, line: &[u8]) {
    if level > threshold {
        return;
    }
    let levels = ap_logconf { module_levels: std::ptr::null_mut(), level: threshold as c_int };
    let raw = server.as_ptr();
    // SAFETY: the configuration of a `Server` is not destroyed during its lifetime, and httpd has allocated it for writing;
    // no other thread reads it (the contract of this function), and nothing between the two assignments panics.
    unsafe {
        let own = std::mem::replace(&mut (*raw).log, levels);
        log_raw(raw, level, line, &SourceLocation::ours());
        (*raw).log = own;
    }
}

/// Writes about a line of the configuration. While it is read a virtual host has no `LogLevel` yet, and
/// the line would be below it; the level of Apache's start holds then.
pub(crate) fn log_config_line(server: Server<'_>, level: Level, line: &[u8]) {
    // SAFETY: the configuration of a `Server` is not destroyed during its lifetime (`Server::from_raw`).
    let unset = unsafe { shim_server_level(server.as_ptr(), module_index()) } < 0;
    let server = if unset { std::ptr::null() } else { server.as_ptr() };
    // SAFETY: null, or a `Server`, whose configuration is not destroyed during the call.
    unsafe { log_raw(server, level, line, &SourceLocation::ours()) };
}

/// What is written for a request, as an `APLOG_*` number: its directory may have a `LogLevel` of its own.
pub(super) fn request_level(request: *const request_rec) -> u8 {
    // SAFETY: a live request, by the promise of `Request::from_raw`.
    u8::try_from(unsafe { shim_request_level(request, module_index()) }).unwrap_or(0)
}

/// The log of a server for threads that outlive the hook that handed it over.
pub(crate) struct ServerLogHandle(*const server_rec);

// SAFETY: httpd's logging functions may be called by any thread; they only read the server.
unsafe impl Send for ServerLogHandle {}
// SAFETY: several threads may log at once: the functions only read the server.
unsafe impl Sync for ServerLogHandle {}

impl ServerLogHandle {
    /// For use in a child process, where the handle may be kept in a static: the configuration's pool is
    /// destroyed only when the process exits, after the threads that log (docs/safety.md, "Statics outlive the
    /// configuration").
    pub(crate) fn of(server: Server<'_>) -> Self {
        Self(server.as_ptr())
    }

    /// Writes one line.
    pub(crate) fn log(&self, level: Level, line: &[u8]) {
        self.log_from(level, line, &SourceLocation::ours());
    }

    /// Writes one line that comes from a place in an application.
    pub(crate) fn log_from(&self, level: Level, line: &[u8], place: &SourceLocation) {
        // SAFETY: the server outlives every thread that logs (the comment of `of`).
        unsafe { log_raw(self.0, level, line, place) };
    }

    /// Whether lines of this level are written.
    pub(crate) fn logs(&self, level: Level) -> bool {
        // SAFETY: the server outlives every thread that logs (the comment of `of`).
        unsafe { shim_server_level(self.0, module_index()) >= level as c_int }
    }
}

/// Writes to the main server's log, from wherever.
pub(super) fn log_process(level: Level, line: &[u8]) {
    // SAFETY: httpd sets the variable once the configuration has been read, and keeps it valid for as
    // long as threads of ours run; null is what ap_log_error expects before that.
    unsafe { log_raw(ap_server_conf, level, line, &SourceLocation::ours()) };
}

/// # Safety
/// `server` is live or null.
unsafe fn log_raw(server: *const server_rec, level: Level, line: &[u8], place: &SourceLocation) {
    let index = module_index();
    // SAFETY: the caller's promise.
    if !server.is_null() && unsafe { shim_server_level(server, index) } < level as c_int {
        return;
    }
    for piece in pieces(line) {
        // SAFETY: `server` by the caller's promise; `%s` takes one NUL-terminated string, which outlives the call.
        unsafe {
            ap_log_error_(
                place.file.as_ptr(),
                place.line,
                index,
                level as c_int,
                0,
                server,
                c"%s".as_ptr(),
                piece.as_ptr(),
            );
        }
    }
}

/// The line in records that httpd keeps whole; NULs, which would end a record early, are shown.
fn pieces(line: &[u8]) -> impl Iterator<Item = CString> {
    wsgi::log_pieces(line).map(|piece| {
        CString::new(&*piece).unwrap_or_else(|_| {
            let shown: Vec<u8> = piece
                .iter()
                .flat_map(|&byte| if byte == 0 { b"\\0".to_vec() } else { vec![byte] })
                .collect();
            CString::new(shown).unwrap_or_default()
        })
    })
}
