//! The two ends of a request's connection: addresses, the server's names, the user, TLS.

use super::request::Request;
use crate::apr::bytes;
use crate::bindings::{
    REMOTE_HOST, REMOTE_NAME, SATISFY_ANY, ap_auth_type, ap_context_document_root,
    ap_context_prefix, ap_document_root, ap_escape_html2, ap_get_server_banner,
    ap_get_server_name_for_url, ap_get_server_port, ap_get_useragent_host, ap_psignature,
    ap_run_http_scheme, ap_satisfies, ap_some_auth_required, shim_request_is_https,
    shim_tls_variable,
};
use std::ffi::c_int;

impl<'call> Request<'call> {
    /// The server's name for URLs (`UseCanonicalName`), escaped for HTML as CGI programs get it.
    pub(crate) fn server_name_for_url(&self) -> &'call [u8] {
        // SAFETY: a live request (`Request::from_raw`); the strings are of its pool.
        unsafe {
            let name = ap_get_server_name_for_url(self.raw);
            let plain = bytes(name).unwrap_or_default();
            if plain.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"')) {
                return bytes(ap_escape_html2((*self.raw).pool, name, 0)).unwrap_or_default();
            }
            plain
        }
    }

    /// The server's port for URLs (`UseCanonicalName`, `UseCanonicalPhysicalPort`).
    pub(crate) fn server_port_for_url(&self) -> u16 {
        // SAFETY: a live request, lent for the length of the hook (`Request::from_raw`).
        unsafe { ap_get_server_port(self.raw) }
    }

    /// The host the client asked for, without a port.
    pub(crate) fn host_name(&self) -> Option<&'call [u8]> {
        // SAFETY: null, or a string of the pool of a live request (`Request::from_raw`).
        unsafe { bytes((*self.raw).hostname) }
    }

    /// The address and port the connection came in at.
    pub(crate) fn local_address(&self) -> (&'call [u8], u16) {
        // SAFETY: a string of the connection's pool; its address is set when it is made.
        unsafe {
            let connection = (*self.raw).connection;
            let port = (*connection).local_addr.as_ref().map_or(0, |address| address.port);
            (bytes((*connection).local_ip).unwrap_or_default(), port)
        }
    }

    /// The host name of the listener, where one is configured.
    pub(crate) fn listener_host(&self) -> &'call [u8] {
        // SAFETY: a live request and its connection, whose address is set when it is made; strings of its pool.
        unsafe {
            let address = (*(*self.raw).connection).local_addr.as_ref();
            address.and_then(|address| bytes(address.hostname)).unwrap_or_default()
        }
    }

    /// The client's address (mod_remoteip applies), and the connection's remote port.
    pub(crate) fn remote_address(&self) -> (&'call [u8], u16) {
        // SAFETY: strings of the pool; the address is set when the connection is made.
        unsafe {
            let address = (*(*self.raw).connection).client_addr.as_ref();
            let port = address.map_or(0, |address| address.port);
            (bytes((*self.raw).useragent_ip).unwrap_or_default(), port)
        }
    }

    /// The authenticated user.
    pub(crate) fn user(&self) -> Option<&'call [u8]> {
        // SAFETY: null, or a string of the pool of a live request (`Request::from_raw`).
        unsafe { bytes((*self.raw).user) }
    }

    /// How the user was authenticated.
    pub(crate) fn auth_type(&self) -> Option<&'call [u8]> {
        // SAFETY: null, or strings of the pool of a live request (`Request::from_raw`).
        unsafe { bytes((*self.raw).ap_auth_type).or_else(|| bytes(ap_auth_type(self.raw))) }
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
        // SAFETY: a live request (`Request::from_raw`); a string of the pool or null. It may wait for the name server.
        unsafe { bytes(ap_get_useragent_host(self.raw, kind, std::ptr::null_mut())) }
    }

    /// `ServerSignature`.
    pub(crate) fn server_signature(&self) -> &'call [u8] {
        // SAFETY: a live request (`Request::from_raw`); null, or a string of its pool.
        unsafe { bytes(ap_psignature(c"".as_ptr(), self.raw)) }.unwrap_or_default()
    }

    /// What mod_ssl knows under this name (its environment variables' names); `None` without mod_ssl.
    pub(crate) fn tls_variable(&self, name: &[u8]) -> Option<&'call [u8]> {
        let name = self.pool().copy(name);
        // SAFETY: a live request (`Request::from_raw`); the answer is a string of the pool, or null.
        unsafe { bytes(shim_tls_variable(self.raw, name)) }
    }

    /// Whether a password would do in place of the right address (`Satisfy Any`). For use in an access
    /// checker; `ap_some_authn_required` would run it again.
    pub(crate) fn satisfy_any(&self) -> bool {
        // SAFETY: a live request, lent for the length of the hook (`Request::from_raw`).
        unsafe {
            ap_satisfies(self.raw) == SATISFY_ANY as c_int && ap_some_auth_required(self.raw) != 0
        }
    }

    pub(crate) fn document_root(&self) -> &'call [u8] {
        // SAFETY: a live request (`Request::from_raw`); a string of the configuration, which outlives it.
        unsafe { bytes(ap_document_root(self.raw)) }.unwrap_or_default()
    }

    pub(crate) fn context_prefix(&self) -> &'call [u8] {
        // SAFETY: a live request (`Request::from_raw`); null, or a string of its pool.
        unsafe { bytes(ap_context_prefix(self.raw)) }.unwrap_or_default()
    }

    pub(crate) fn context_document_root(&self) -> &'call [u8] {
        // SAFETY: a live request (`Request::from_raw`); null, or a string of its pool.
        unsafe { bytes(ap_context_document_root(self.raw)) }.unwrap_or_default()
    }

    /// `http` or `https`, as URLs of this server begin.
    pub(crate) fn scheme(&self) -> &'call [u8] {
        // SAFETY: a live request (`Request::from_raw`); a static string of the module that answered.
        unsafe { bytes(ap_run_http_scheme(self.raw)) }.unwrap_or(b"http")
    }

    /// Whether the connection itself is encrypted by mod_ssl.
    pub(crate) fn is_https(&self) -> bool {
        // SAFETY: a live request, lent for the length of the hook (`Request::from_raw`).
        unsafe { shim_request_is_https(self.raw) != 0 }
    }

    /// `Apache/2.4.x …`, as `ServerTokens` allows.
    pub(crate) fn server_software(&self) -> &'call [u8] {
        // SAFETY: a string of the configuration.
        unsafe { bytes(ap_get_server_banner()) }.unwrap_or_default()
    }

    /// The connection's id in the logs.
    pub(crate) fn connection_log_id(&self) -> Option<&'call [u8]> {
        // SAFETY: a string of the connection's pool or null.
        unsafe { bytes((*(*self.raw).connection).log_id) }
    }
}
