//! A request, lent by httpd for the length of one hook call.

use super::log::{SourceLocation, log_request, logs_request};
use super::log_id;
use super::module::{module_config, set_module_config};
use super::server::Server;
use crate::apr::{Pool, Table, bytes};
use crate::bindings::{
    AP_CORE_CONFIG_ON, APR_FINFO_MIN, APR_SUCCESS, OPT_EXECCGI, REMOTE_HOST, REMOTE_NAME,
    SATISFY_ANY, ap_allow_options, ap_auth_type, ap_context_document_root, ap_context_prefix,
    ap_document_root, ap_escape_html2, ap_get_core_module_config, ap_get_limit_req_body,
    ap_get_server_banner, ap_get_server_name_for_url, ap_get_server_port, ap_get_useragent_host,
    ap_psignature, ap_run_dirwalk_stat, ap_run_http_scheme, ap_satisfies, ap_some_auth_required,
    apr_filetype_e, apr_hash_get, apr_uri_unparse, conn_rec, core_dir_config, request_rec,
    shim_method_is_get, shim_request_is_https, shim_tls_variable,
};
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use wsgi::Level;

/// A request and everything that hangs on it. Strings are borrowed for `'call`: they live in the
/// request's pool and are never changed in place, only replaced.
pub(crate) struct Request<'call> {
    pub(super) raw: *mut request_rec,
    lent: PhantomData<&'call mut request_rec>,
}

/// What a path turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Missing,
    Directory,
    Other,
}

impl<'call> Request<'call> {
    /// # Safety
    /// `raw` is a live request for all of `'call`, used by nobody else meanwhile.
    pub(super) const unsafe fn from_raw(raw: *mut request_rec) -> Self {
        Self { raw, lent: PhantomData }
    }

    pub(super) fn record(&self) -> &'call request_rec {
        // SAFETY: lent for `'call`. httpd changes fields only in calls made through `self`, and what is
        // read here is copied out at once.
        unsafe { &*self.raw }
    }

    fn connection(&self) -> &'call conn_rec {
        // SAFETY: a request's connection outlives it.
        unsafe { &*self.record().connection }
    }

    fn core(&self) -> &'call core_dir_config {
        // SAFETY: the core module always has a directory config.
        unsafe { &*ap_get_core_module_config(self.record().per_dir_config).cast() }
    }

    /// The request's pool.
    pub(crate) fn pool(&self) -> Pool<'call> {
        // SAFETY: the pool of a live request.
        unsafe { Pool::from_raw(self.record().pool) }
    }

    /// The server it is for.
    pub(crate) fn server(&self) -> Server<'call> {
        // SAFETY: the configuration outlives its requests.
        unsafe { Server::from_raw(self.record().server) }
    }

    /// This module's directory config for the request; null where no directive applied.
    pub(crate) fn directory_config(&self) -> *const c_void {
        // SAFETY: live, and the module is registered.
        unsafe { module_config(self.record().per_dir_config) }
    }

    /// Remembers which URL path the request has now.
    pub(crate) fn remember_uri(&mut self) {
        // SAFETY: live, and the module is registered. Nobody follows the pointer.
        unsafe {
            set_module_config(self.record().request_config, self.record().uri.cast());
        }
    }

    /// Whether it still is that one, and not that of another request which httpd has put in this one's
    /// place (`ap_internal_fast_redirect`).
    pub(crate) fn has_remembered_uri(&self) -> bool {
        // SAFETY: as above.
        let remembered = unsafe { module_config(self.record().request_config) };
        !remembered.is_null() && remembered == self.record().uri.cast()
    }

    // What was asked for.

    /// The handler's name, once one is set.
    pub(crate) fn handler(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the pool or of the configuration.
        unsafe { bytes(self.record().handler) }
    }

    /// The method as the client wrote it.
    pub(crate) fn method(&self) -> &'call [u8] {
        // SAFETY: a string of the pool.
        unsafe { bytes(self.record().method) }.unwrap_or_default()
    }

    /// `GET` or `HEAD`.
    pub(crate) fn is_get_or_head(&self) -> bool {
        // SAFETY: reads a field.
        unsafe { shim_method_is_get(self.raw) != 0 }
    }

    /// The answer goes out without its body.
    pub(crate) fn is_head(&self) -> bool {
        self.record().header_only != 0
    }

    /// `HTTP/1.1` and the like.
    pub(crate) fn protocol(&self) -> &'call [u8] {
        // SAFETY: a string of the pool.
        unsafe { bytes(self.record().protocol) }.unwrap_or_default()
    }

    /// The decoded URL path.
    pub(crate) fn uri(&self) -> &'call [u8] {
        // SAFETY: a string of the pool.
        unsafe { bytes(self.record().uri) }.unwrap_or_default()
    }

    /// The query string.
    pub(crate) fn query(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the pool or null.
        unsafe { bytes(self.record().args) }
    }

    /// What stands between method and protocol in the request line.
    pub(crate) fn target(&self) -> &'call [u8] {
        // SAFETY: a string of the pool or null.
        let line = unsafe { bytes(self.record().the_request) }.unwrap_or_default();
        let mut parts = line.splitn(2, |&byte| byte == b' ').skip(1);
        let rest = parts.next().unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        rest.get(..end).unwrap_or(rest)
    }

    /// The file the URL means.
    pub(crate) fn filename(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the pool or null.
        unsafe { bytes(self.record().filename) }
    }

    /// What of the URL is left behind the file.
    pub(crate) fn path_info(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the pool or null.
        unsafe { bytes(self.record().path_info) }
    }

    /// `AcceptPathInfo Off`.
    pub(crate) fn rejects_path_info(&self) -> bool {
        self.record().used_path_info == crate::bindings::AP_REQ_REJECT_PATH_INFO as i32
    }

    /// What the file is, as httpd's directory walk saw it.
    pub(crate) fn file_kind(&self) -> FileKind {
        match self.record().finfo.filetype {
            apr_filetype_e::APR_NOFILE => FileKind::Missing,
            apr_filetype_e::APR_DIR => FileKind::Directory,
            _ => FileKind::Other,
        }
    }

    /// When the file was modified, in microseconds since the epoch.
    pub(crate) fn file_modified(&self) -> i64 {
        self.record().finfo.mtime
    }

    /// `Options ExecCGI`.
    pub(crate) fn may_execute(&self) -> bool {
        // SAFETY: live.
        unsafe { ap_allow_options(self.raw) & OPT_EXECCGI as i32 != 0 }
    }

    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.record().expecting_100 != 0
    }

    /// When the request came, in microseconds since the epoch.
    pub(crate) fn time(&self) -> i64 {
        self.record().request_time
    }

    /// `LimitRequestBody`, in bytes; 0 is no limit.
    pub(crate) fn body_limit(&self) -> u64 {
        // SAFETY: live.
        u64::try_from(unsafe { ap_get_limit_req_body(self.raw) }).unwrap_or(0)
    }

    // Tables.

    pub(crate) fn headers_in(&self) -> Table<'call> {
        // SAFETY: a table of a live request.
        unsafe { Table::from_raw(self.record().headers_in) }
    }

    /// Says how long the request body is, unless the client's `Content-Length` does.
    pub(crate) fn declare_length(&self, length: usize) {
        let headers = self.headers_in();
        if headers.get(c"Content-Length").is_none() {
            headers.set(self.pool(), c"Content-Length", length.to_string().as_bytes());
        }
    }

    pub(crate) fn headers_out(&self) -> Table<'call> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().headers_out) }
    }

    pub(crate) fn error_headers_out(&self) -> Table<'call> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().err_headers_out) }
    }

    pub(crate) fn subprocess_env(&self) -> Table<'call> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().subprocess_env) }
    }

    pub(crate) fn notes(&self) -> Table<'call> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().notes) }
    }

    // Who asked, and whom.

    /// The server's name for URLs (`UseCanonicalName`), escaped for HTML as CGI programs get it.
    pub(crate) fn server_name_for_url(&self) -> &'call [u8] {
        // SAFETY: live; the strings are of the pool.
        unsafe {
            let name = ap_get_server_name_for_url(self.raw);
            let plain = bytes(name).unwrap_or_default();
            if plain.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"')) {
                return bytes(ap_escape_html2(self.record().pool, name, 0)).unwrap_or_default();
            }
            plain
        }
    }

    /// The server's port for URLs (`UseCanonicalName`, `UseCanonicalPhysicalPort`).
    pub(crate) fn server_port_for_url(&self) -> u16 {
        // SAFETY: live.
        unsafe { ap_get_server_port(self.raw) }
    }

    /// The host the client asked for, without a port.
    pub(crate) fn host_name(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the pool or null.
        unsafe { bytes(self.record().hostname) }
    }

    /// The address and port the connection came in at.
    pub(crate) fn local_address(&self) -> (&'call [u8], u16) {
        let connection = self.connection();
        // SAFETY: a string of the connection's pool; its address is set when it is made.
        unsafe {
            let port = connection.local_addr.as_ref().map_or(0, |address| address.port);
            (bytes(connection.local_ip).unwrap_or_default(), port)
        }
    }

    /// The host name of the listener, where one is configured.
    pub(crate) fn listener_host(&self) -> &'call [u8] {
        // SAFETY: as above.
        unsafe {
            let address = self.connection().local_addr.as_ref();
            address.and_then(|address| bytes(address.hostname)).unwrap_or_default()
        }
    }

    /// The client's address (mod_remoteip applies), and the connection's remote port.
    pub(crate) fn remote_address(&self) -> (&'call [u8], u16) {
        // SAFETY: strings of the pool; the address is set when the connection is made.
        unsafe {
            let port = self.connection().client_addr.as_ref().map_or(0, |address| address.port);
            (bytes(self.record().useragent_ip).unwrap_or_default(), port)
        }
    }

    /// The authenticated user.
    pub(crate) fn user(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the pool or null.
        unsafe { bytes(self.record().user) }
    }

    /// How the user was authenticated.
    pub(crate) fn auth_type(&self) -> Option<&'call [u8]> {
        // SAFETY: strings of the pool or null.
        unsafe { bytes(self.record().ap_auth_type).or_else(|| bytes(ap_auth_type(self.raw))) }
    }

    /// The client's host name, where `HostnameLookups` asks for it.
    pub(crate) fn remote_host(&self) -> Option<&'call [u8]> {
        self.useragent_host(REMOTE_HOST)
    }

    /// The client's host name where `HostnameLookups` asks for it, else its address.
    pub(crate) fn remote_name(&self) -> &'call [u8] {
        self.useragent_host(REMOTE_NAME).unwrap_or_default()
    }

    fn useragent_host(&self, kind: u32) -> Option<&'call [u8]> {
        let kind = c_int::try_from(kind).unwrap_or(0);
        // SAFETY: live; a string of the pool or null. It may wait for the name server.
        unsafe { bytes(ap_get_useragent_host(self.raw, kind, std::ptr::null_mut())) }
    }

    /// `ServerSignature`.
    pub(crate) fn server_signature(&self) -> &'call [u8] {
        // SAFETY: live; a string of the pool.
        unsafe { bytes(ap_psignature(c"".as_ptr(), self.raw)) }.unwrap_or_default()
    }

    /// What mod_ssl knows under this name (its environment variables' names); `None` without mod_ssl.
    pub(crate) fn tls_variable(&self, name: &[u8]) -> Option<&'call [u8]> {
        let name = self.pool().copy(name);
        // SAFETY: live; the answer is a string of the pool, or null.
        unsafe { bytes(shim_tls_variable(self.raw, name)) }
    }

    /// Whether a password would do in place of the right address (`Satisfy Any`). For use in an access
    /// checker; `ap_some_authn_required` would run it again.
    pub(crate) fn satisfy_any(&self) -> bool {
        // SAFETY: live.
        unsafe {
            ap_satisfies(self.raw) == SATISFY_ANY as c_int && ap_some_auth_required(self.raw) != 0
        }
    }

    /// httpd's own structure, for extension modules.
    pub(crate) fn native(&self) -> Option<NonNull<c_void>> {
        NonNull::new(self.raw.cast())
    }

    pub(crate) fn document_root(&self) -> &'call [u8] {
        // SAFETY: live; a string of the configuration.
        unsafe { bytes(ap_document_root(self.raw)) }.unwrap_or_default()
    }

    pub(crate) fn context_prefix(&self) -> &'call [u8] {
        // SAFETY: live; a string of the pool.
        unsafe { bytes(ap_context_prefix(self.raw)) }.unwrap_or_default()
    }

    pub(crate) fn context_document_root(&self) -> &'call [u8] {
        // SAFETY: live; a string of the pool.
        unsafe { bytes(ap_context_document_root(self.raw)) }.unwrap_or_default()
    }

    /// `http` or `https`, as URLs of this server begin.
    pub(crate) fn scheme(&self) -> &'call [u8] {
        // SAFETY: live; a static string of the module that answered.
        unsafe { bytes(ap_run_http_scheme(self.raw)) }.unwrap_or(b"http")
    }

    /// Whether the connection itself is encrypted by mod_ssl.
    pub(crate) fn is_https(&self) -> bool {
        // SAFETY: live.
        unsafe { shim_request_is_https(self.raw) != 0 }
    }

    /// `Apache/2.4.x …`, as `ServerTokens` allows.
    pub(crate) fn server_software(&self) -> &'call [u8] {
        // SAFETY: a string of the configuration.
        unsafe { bytes(ap_get_server_banner()) }.unwrap_or_default()
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

    /// The whole URL of the request, scheme, host and port filled in where the client did not name them.
    pub(crate) fn whole_url(&self) -> &'call [u8] {
        let mut uri = self.record().parsed_uri;
        // SAFETY: live; the copy's strings are those of the request, or static, or made in its pool.
        unsafe {
            if uri.scheme.is_null() {
                uri.scheme = ap_run_http_scheme(self.raw).cast_mut();
            }
            if uri.port == 0 {
                uri.port = ap_get_server_port(self.raw);
                uri.port_str = self.pool().copy(uri.port.to_string().as_bytes());
            }
            if uri.hostname.is_null() {
                uri.hostname = ap_get_server_name_for_url(self.raw).cast_mut();
            }
            bytes(apr_uri_unparse(self.record().pool, &raw const uri, 0)).unwrap_or_default()
        }
    }

    /// `EnableSendfile` and `EnableMMAP` of httpd: whether the administrator switched them on, and not
    /// off, respectively.
    pub(crate) fn file_options(&self) -> (bool, bool) {
        let core = self.core();
        (core.enable_sendfile() == 1, core.enable_mmap() != 0)
    }

    /// The request's id in the logs, made now if it has none.
    pub(crate) fn log_id(&mut self) -> &'call [u8] {
        // SAFETY: live; the hook writes a string of the pool.
        unsafe {
            if (*self.raw).log_id.is_null() {
                (*self.raw).log_id = log_id::generate(self.raw, self.pool());
            }
            bytes((*self.raw).log_id).unwrap_or_default()
        }
    }

    /// The connection's id in the logs.
    pub(crate) fn connection_log_id(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the connection's pool or null.
        unsafe { bytes(self.connection().log_id) }
    }

    /// The request an internal redirect came from.
    pub(crate) fn previous(&self) -> Option<Self> {
        let previous = self.record().prev;
        // SAFETY: httpd keeps the requests of a chain as long as the last.
        (!previous.is_null()).then(|| unsafe { Self::from_raw(previous) })
    }

    /// Whether a content filter stands first among the output filters.
    pub(crate) fn has_content_filter(&self) -> bool {
        // SAFETY: the filter chain of a live request.
        unsafe {
            self.record().output_filters.as_ref().is_some_and(|filter| {
                (*filter.frec).ftype < crate::bindings::ap_filter_type::AP_FTYPE_PROTOCOL
            })
        }
    }

    /// Whether a filter of this name is among those that change the request body.
    pub(crate) fn has_input_filter(&self, name: &CStr) -> bool {
        // SAFETY: the filter chain of a live request; each filter's name is a C string.
        unsafe {
            let mut next = self.record().input_filters.as_ref();
            while let Some(filter) = next {
                let record = &*filter.frec;
                if record.ftype >= crate::bindings::ap_filter_type::AP_FTYPE_PROTOCOL {
                    return false;
                }
                // httpd keeps names in small letters.
                if CStr::from_ptr(record.name).to_bytes().eq_ignore_ascii_case(name.to_bytes()) {
                    return true;
                }
                next = filter.next.as_ref();
            }
        }
        false
    }

    /// Whether what is passed on goes to the client's socket as it is, and nobody in this process looks at it
    /// on its way: no filter that changes content, no TLS, no stream of HTTP/2.
    pub(crate) fn is_unfiltered(&self) -> bool {
        // SAFETY: the connection of a live request, and its filter chain.
        let connection = unsafe {
            let connection = &*self.record().connection;
            connection.output_filters.as_ref().filter(|_| connection.master.is_null())
        };
        // SAFETY: every filter has its record.
        let is_last = |filter: &crate::bindings::ap_filter_t| unsafe {
            (*filter.frec).ftype >= crate::bindings::ap_filter_type::AP_FTYPE_NETWORK
        };
        !self.has_content_filter() && connection.is_some_and(is_last)
    }

    // What is decided.

    /// Sets the path the URL means: `target`, and `rest` behind it. Which part of them is the file the
    /// directory walk finds out, by a `stat` for each component. Where `target` is a file there is nothing
    /// to find out: its own `stat` is enough (`ap_directory_walk` keeps a `finfo` and a `path_info` that are
    /// there already, and still looks for links where `Options` does not allow all of them).
    pub(crate) fn set_file(&mut self, target: &[u8], rest: &[u8]) {
        let pool = self.pool();
        if !target.ends_with(b"/") {
            // SAFETY: live; the copies live as long as the request, and the hook fills the `finfo` in.
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
        // SAFETY: live; the copy lives as long as the request.
        unsafe { (*self.raw).filename = whole };
    }

    /// Sets the authenticated user.
    pub(crate) fn set_user(&mut self, user: &[u8]) {
        let user = self.pool().copy(user);
        // SAFETY: live; the copy lives as long as the request.
        unsafe { (*self.raw).user = user };
    }

    /// Sets the handler.
    pub(crate) fn set_handler(&mut self, handler: &'static CStr) {
        // SAFETY: live.
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

    /// The same, for a line that comes from a place in an application.
    pub(crate) fn log_from(&self, level: Level, line: &[u8], place: &SourceLocation) {
        // SAFETY: live.
        unsafe { log_request(self.raw, level, line, place) };
    }

    /// Whether that log takes lines of this level.
    pub(crate) fn logs(&self, level: Level) -> bool {
        // SAFETY: live.
        unsafe { logs_request(self.raw, level) }
    }
}
