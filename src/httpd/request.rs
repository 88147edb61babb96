//! A request, lent by httpd for the length of one hook call.

use super::log::{SourceLocation, log_request, log_request_from, logs_request};
use super::log_id;
use super::module::{module_config, set_module_config};
use super::previous_request::PreviousRequest;
use super::server::Server;
use crate::apr::{Pool, Table, bytes};
use crate::bindings::{
    AP_CORE_CONFIG_ON, APR_FINFO_MIN, APR_SUCCESS, OPT_EXECCGI, ap_allow_options,
    ap_get_core_module_config, ap_get_limit_req_body, ap_run_dirwalk_stat, apr_filetype_e,
    apr_hash_get, core_dir_config, request_rec, shim_method_is_get,
};
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use wsgi::{FileVersion, Level};

/// A request and everything that hangs on it. Strings are borrowed for `'call`: they live in the
/// request's pool and are never changed in place, only replaced.
pub(crate) struct Request<'call> {
    /// httpd and this module change fields of it during a hook: so fields are read and written one by one
    /// through this pointer, and no reference to the whole is ever made.
    pub(super) raw: *mut request_rec,
    lent: PhantomData<&'call mut request_rec>,
}

/// What a path turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Missing,
    Directory,
    Regular,
    /// A FIFO, a device, a socket.
    Special,
}

impl<'call> Request<'call> {
    /// # Safety
    /// `raw` is a live request for all of `'call`, and no other handle to it is used meanwhile.
    pub(super) const unsafe fn from_raw(raw: *mut request_rec) -> Self {
        Self { raw, lent: PhantomData }
    }

    fn core(&self) -> &'call core_dir_config {
        // SAFETY: the core module always has a directory config.
        unsafe { &*ap_get_core_module_config((*self.raw).per_dir_config).cast() }
    }

    /// Drops `value` when httpd is done with the request: when its response has been sent, or never will be.
    pub(crate) fn keep_until_its_end<T: 'static>(&self, value: T) {
        self.pool().adopt(value);
    }

    /// The request's pool.
    pub(crate) fn pool(&self) -> Pool<'call> {
        // SAFETY: the pool of a live request.
        unsafe { Pool::from_raw((*self.raw).pool) }
    }

    /// The server it is for.
    pub(crate) fn server(&self) -> Server<'call> {
        // SAFETY: the configuration outlives its requests.
        unsafe { Server::from_raw((*self.raw).server) }
    }

    /// This module's directory config for the request; null where no directive applied.
    pub(crate) fn directory_config(&self) -> *const c_void {
        // SAFETY: a live request, whose vectors of configurations live as long.
        unsafe { module_config((*self.raw).per_dir_config) }
    }

    /// Remembers which URL path the request has now.
    pub(crate) fn remember_uri(&mut self) {
        // SAFETY: a live request, whose vectors of configurations live as long. The pointer is never followed.
        unsafe {
            set_module_config((*self.raw).request_config, (*self.raw).uri.cast());
        }
    }

    /// Whether it still is that one, and not that of another request which httpd has put in this one's
    /// place (`ap_internal_fast_redirect`).
    pub(crate) fn has_remembered_uri(&self) -> bool {
        // SAFETY: a live request's vector of configurations, and its field; neither pointer is followed.
        let (remembered, uri) =
            unsafe { (module_config((*self.raw).request_config), (*self.raw).uri) };
        !remembered.is_null() && remembered == uri.cast()
    }

    // What was asked for.

    /// The handler's name, once one is set.
    pub(crate) fn handler(&self) -> Option<&'call [u8]> {
        // SAFETY: null, or a string of the pool of a live request or of the configuration, which outlives it.
        unsafe { bytes((*self.raw).handler) }
    }

    /// The method as the client wrote it.
    pub(crate) fn method(&self) -> &'call [u8] {
        // SAFETY: a string of the pool of a live request (`from_raw`), which is replaced but never changed.
        unsafe { bytes((*self.raw).method) }.unwrap_or_default()
    }

    /// Whether a `.htaccess` file applies, which may have set anything that it may.
    pub(crate) fn has_override_file(&self) -> bool {
        // SAFETY: a live request; httpd makes the list in its pool, one entry for each directory that was looked at, and
        // changes none afterwards.
        unsafe {
            let mut looked_at = (*self.raw).htaccess;
            while let Some(directory) = looked_at.as_ref() {
                if !directory.htaccess.is_null() {
                    return true;
                }
                looked_at = directory.next;
            }
        }
        false
    }

    /// `GET` or `HEAD`.
    pub(crate) fn is_get_or_head(&self) -> bool {
        // SAFETY: reads a field of a live request (`from_raw`).
        unsafe { shim_method_is_get(self.raw) != 0 }
    }

    /// The answer goes out without its body.
    pub(crate) fn is_head(&self) -> bool {
        // SAFETY: reads a field of a live request.
        unsafe { (*self.raw).header_only != 0 }
    }

    /// `HTTP/1.1` and the like.
    pub(crate) fn protocol(&self) -> &'call [u8] {
        // SAFETY: a string of the pool of a live request (`from_raw`), which is replaced but never changed.
        unsafe { bytes((*self.raw).protocol) }.unwrap_or_default()
    }

    /// The decoded URL path.
    pub(crate) fn uri(&self) -> &'call [u8] {
        // SAFETY: a string of the pool of a live request (`from_raw`), which is replaced but never changed.
        unsafe { bytes((*self.raw).uri) }.unwrap_or_default()
    }

    /// The query string.
    pub(crate) fn query(&self) -> Option<&'call [u8]> {
        // SAFETY: null, or a string of the pool of a live request (`from_raw`), which is never changed.
        unsafe { bytes((*self.raw).args) }
    }

    /// What stands between method and protocol in the request line.
    pub(crate) fn target(&self) -> &'call [u8] {
        // SAFETY: null, or a string of the pool of a live request (`from_raw`), which is never changed.
        let line = unsafe { bytes((*self.raw).the_request) }.unwrap_or_default();
        let mut parts = line.splitn(2, |&byte| byte == b' ').skip(1);
        let rest = parts.next().unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        rest.get(..end).unwrap_or(rest)
    }

    /// The file the URL means.
    pub(crate) fn filename(&self) -> Option<&'call [u8]> {
        // SAFETY: null, or a string of the pool of a live request (`from_raw`), which is never changed.
        unsafe { bytes((*self.raw).filename) }
    }

    /// What of the URL is left behind the file.
    pub(crate) fn path_info(&self) -> Option<&'call [u8]> {
        // SAFETY: null, or a string of the pool of a live request (`from_raw`), which is never changed.
        unsafe { bytes((*self.raw).path_info) }
    }

    /// `AcceptPathInfo Off`.
    pub(crate) fn rejects_path_info(&self) -> bool {
        // SAFETY: reads a field of a live request.
        unsafe { (*self.raw).used_path_info == crate::bindings::AP_REQ_REJECT_PATH_INFO as i32 }
    }

    /// What the file is, as httpd's directory walk saw it.
    pub(crate) fn file_kind(&self) -> FileKind {
        // SAFETY: reads a field of a live request.
        match unsafe { (*self.raw).finfo.filetype } {
            apr_filetype_e::APR_NOFILE => FileKind::Missing,
            apr_filetype_e::APR_DIR => FileKind::Directory,
            apr_filetype_e::APR_REG => FileKind::Regular,
            _ => FileKind::Special,
        }
    }

    /// The HTTP status of the response.
    pub(crate) fn status(&self) -> i32 {
        // SAFETY: reads a field of a live request.
        unsafe { (*self.raw).status }
    }

    /// Whether the response has this media type, whatever its parameters.
    pub(crate) fn has_content_type(&self, media_type: &[u8]) -> bool {
        // SAFETY: null, or a string of the pool of a live request (`from_raw`), which is never changed.
        let value = unsafe { bytes((*self.raw).content_type) }.unwrap_or_default();
        let name = value.split(|&byte| byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(media_type)
    }

    /// The version of the file.
    pub(crate) fn file_version(&self) -> FileVersion {
        // SAFETY: reads fields of a live request.
        let (modified, size, inode) = unsafe {
            let found = &raw const (*self.raw).finfo;
            ((*found).mtime, (*found).size, (*found).inode)
        };
        FileVersion { modified, size: u64::try_from(size).unwrap_or(0), inode }
    }

    /// `Options ExecCGI`.
    pub(crate) fn may_execute(&self) -> bool {
        // SAFETY: a live request, lent for the length of the hook (`from_raw`).
        unsafe { ap_allow_options(self.raw) & OPT_EXECCGI as i32 != 0 }
    }

    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        // SAFETY: reads a field of a live request.
        unsafe { (*self.raw).expecting_100 != 0 }
    }

    /// When the request came, in microseconds since the epoch.
    pub(crate) fn time(&self) -> i64 {
        // SAFETY: reads a field of a live request.
        unsafe { (*self.raw).request_time }
    }

    /// `LimitRequestBody`, in bytes; 0 is no limit.
    pub(crate) fn body_limit(&self) -> u64 {
        // SAFETY: a live request, lent for the length of the hook (`from_raw`).
        u64::try_from(unsafe { ap_get_limit_req_body(self.raw) }).unwrap_or(0)
    }

    // Tables.

    pub(crate) fn headers_in(&self) -> Table<'call> {
        // SAFETY: a table of a live request.
        unsafe { Table::from_raw((*self.raw).headers_in) }
    }

    /// Says how long the request body is, unless the client's `Content-Length` does.
    pub(crate) fn declare_length(&self, length: u64) {
        let headers = self.headers_in();
        if headers.get(c"Content-Length").is_none() {
            headers.set(self.pool(), c"Content-Length", length.to_string().as_bytes());
        }
    }

    pub(crate) fn headers_out(&self) -> Table<'call> {
        // SAFETY: a table of a live request (`from_raw`).
        unsafe { Table::from_raw((*self.raw).headers_out) }
    }

    pub(crate) fn error_headers_out(&self) -> Table<'call> {
        // SAFETY: a table of a live request (`from_raw`).
        unsafe { Table::from_raw((*self.raw).err_headers_out) }
    }

    pub(crate) fn subprocess_env(&self) -> Table<'call> {
        // SAFETY: a table of a live request (`from_raw`).
        unsafe { Table::from_raw((*self.raw).subprocess_env) }
    }

    pub(crate) fn notes(&self) -> Table<'call> {
        // SAFETY: a table of a live request (`from_raw`).
        unsafe { Table::from_raw((*self.raw).notes) }
    }

    /// `CGIPassAuth On`.
    pub(crate) fn passes_credentials(&self) -> bool {
        self.core().cgi_pass_auth() == crate::bindings::AP_CGI_PASS_AUTH_ON
    }

    /// `CGIVar REQUEST_URI current-uri`: programs are told the URL path as it is now, after internal
    /// redirects and rewriting.
    pub(crate) fn tells_current_uri(&self) -> bool {
        let rules = self.core().cgi_var_rules;
        if rules.is_null() {
            return false;
        }
        // SAFETY: a table of the configuration, from names to strings.
        let rule = unsafe {
            let name = c"REQUEST_URI";
            bytes(apr_hash_get(rules, name.as_ptr().cast(), name.count_bytes() as isize).cast())
        };
        rule == Some(b"current-uri")
    }

    /// `QualifyRedirectURL On`: `REDIRECT_URL` begins with scheme and host.
    pub(crate) fn qualifies_redirect_url(&self) -> bool {
        self.core().qualify_redirect_url() == AP_CORE_CONFIG_ON
    }

    /// `EnableSendfile` and `EnableMMAP` of httpd: what the administrator has said of the first, and whether the
    /// second is not switched off.
    pub(crate) fn file_options(&self) -> (Option<bool>, bool) {
        let core = self.core();
        let sendfile = Some(core.enable_sendfile()).filter(|value| *value <= 1);
        (sendfile.map(|value| value == 1), core.enable_mmap() != 0)
    }

    /// The request's id in the logs, made now if it has none.
    pub(crate) fn log_id(&mut self) -> &'call [u8] {
        // SAFETY: a live request (`Request::from_raw`); the hook writes a string of the pool.
        unsafe {
            if (*self.raw).log_id.is_null() {
                (*self.raw).log_id = log_id::generate(self.raw, self.pool());
            }
            bytes((*self.raw).log_id).unwrap_or_default()
        }
    }

    /// httpd's own structure, for extension modules.
    pub(crate) fn native(&self) -> Option<NonNull<c_void>> {
        NonNull::new(self.raw.cast())
    }

    /// The request an internal redirect came from.
    pub(crate) fn previous(&self) -> Option<PreviousRequest<'call>> {
        // SAFETY: a live request; httpd keeps the requests of a chain as long as the last.
        unsafe { PreviousRequest::from_raw((*self.raw).prev) }
    }

    // What is decided.

    /// Sets the path the URL means: `target`, and `rest` behind it. Which part of them is the file the
    /// directory walk finds out, by a `stat` for each component. Where `target` is a file there is nothing
    /// to find out: its own `stat` is enough (`ap_directory_walk` keeps a `finfo` and a `path_info` that are
    /// there already, and still looks for links where `Options` does not allow all of them).
    pub(crate) fn set_file(&mut self, target: &[u8], rest: &[u8]) {
        let pool = self.pool();
        if !target.ends_with(b"/") {
            // SAFETY: a live request (`Request::from_raw`); the copies live as long as the request, and the hook fills the `finfo` in.
            unsafe {
                (*self.raw).filename = pool.copy(target);
                let found = &raw mut (*self.raw).finfo;
                let status = ap_run_dirwalk_stat(found, self.raw, APR_FINFO_MIN as i32);
                if status == APR_SUCCESS as i32 && (*found).filetype == apr_filetype_e::APR_REG {
                    (*self.raw).path_info = pool.copy(rest);
                    return;
                }
                (*found).filetype = apr_filetype_e::APR_NOFILE;
            }
        }
        let whole = pool.copy(&[target, rest].concat());
        // SAFETY: a live request (`from_raw`); the copy is of its pool.
        unsafe { (*self.raw).filename = whole };
    }

    /// Sets the authenticated user.
    pub(crate) fn set_user(&mut self, user: &[u8]) {
        let user = self.pool().copy(user);
        // SAFETY: a live request (`from_raw`); the copy is of its pool.
        unsafe { (*self.raw).user = user };
    }

    /// Sets the handler.
    pub(crate) fn set_handler(&mut self, handler: &'static CStr) {
        // SAFETY: a live request, lent for the length of the hook (`from_raw`).
        unsafe { (*self.raw).handler = handler.as_ptr() };
    }

    /// What is written to the error log for this request, as an `APLOG_*` number.
    pub(crate) fn log_level(&self) -> u8 {
        super::log::request_level(self.raw)
    }

    /// Writes to the error log of the request's virtual host.
    pub(crate) fn log(&self, level: Level, line: &[u8]) {
        self.log_from(level, line, &SourceLocation::ours());
    }

    /// The same for a line of a worker, where an administrator has set the level of its group: that holds in place of
    /// `LogLevel`.
    pub(crate) fn log_of_group(&self, threshold: Option<Level>, level: Level, line: &[u8]) {
        match threshold {
            // SAFETY: a live request, lent to this thread for the length of the hook (`from_raw`).
            Some(threshold) => unsafe { log_request_from(self.raw, threshold, level, line) },
            None => self.log(level, line),
        }
    }

    /// The same, for a line that comes from a place in an application.
    pub(crate) fn log_from(&self, level: Level, line: &[u8], place: &SourceLocation) {
        // SAFETY: a live request, lent for the length of the hook (`from_raw`).
        unsafe { log_request(self.raw, level, line, place) };
    }

    /// Whether that log takes lines of this level.
    pub(crate) fn logs(&self, level: Level) -> bool {
        // SAFETY: a live request, lent for the length of the hook (`from_raw`).
        unsafe { logs_request(self.raw, level) }
    }
}
