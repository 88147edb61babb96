//! The request an internal redirect came from: it can be read, and nothing else. It is no [`super::Request`],
//! which would be a second exclusive handle on a chain of requests that the first one can reach.

use crate::apr::{Pool, Table, bytes};
use crate::bindings::{
    ap_get_server_name_for_url, ap_get_server_port, ap_run_http_scheme, apr_uri_unparse,
    request_rec,
};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// An earlier request of a chain of internal redirects, which lives as long as the last one.
#[derive(Clone, Copy)]
pub(crate) struct PreviousRequest<'call> {
    raw: NonNull<request_rec>,
    lives: PhantomData<&'call request_rec>,
}

impl<'call> PreviousRequest<'call> {
    /// `None` for a null pointer.
    ///
    /// # Safety
    /// `raw` is null, or a request that is not destroyed during `'call`, used by this thread alone.
    pub(super) unsafe fn from_raw(raw: *mut request_rec) -> Option<Self> {
        Some(Self { raw: NonNull::new(raw)?, lives: PhantomData })
    }

    /// The decoded URL path.
    pub(crate) fn uri(self) -> &'call [u8] {
        // SAFETY: a live request (`from_raw`); a string of its pool.
        unsafe { bytes((*self.raw.as_ptr()).uri) }.unwrap_or_default()
    }

    /// The query string.
    pub(crate) fn query(self) -> Option<&'call [u8]> {
        // SAFETY: a live request (`from_raw`); a string of its pool or null.
        unsafe { bytes((*self.raw.as_ptr()).args) }
    }

    /// The authenticated user.
    pub(crate) fn user(self) -> Option<&'call [u8]> {
        // SAFETY: a live request (`from_raw`); a string of its pool or null.
        unsafe { bytes((*self.raw.as_ptr()).user) }
    }

    /// Notes of modules on the request.
    pub(super) fn notes(self) -> Table<'call> {
        // SAFETY: the table of a live request (`from_raw`), which this thread alone uses.
        unsafe { Table::from_raw((*self.raw.as_ptr()).notes) }
    }

    /// The request that one came from in turn.
    pub(super) fn previous(self) -> Option<Self> {
        // SAFETY: httpd keeps the requests of a chain as long as the last.
        unsafe { Self::from_raw((*self.raw.as_ptr()).prev) }
    }

    /// The whole URL, scheme, host and port filled in where the client did not name them.
    pub(crate) fn whole_url(self) -> &'call [u8] {
        let request = self.raw.as_ptr();
        // SAFETY: a live request (`from_raw`); the strings of the copy are those of the request, or static, or
        // made in its pool.
        unsafe {
            let pool = Pool::from_raw((*request).pool);
            let mut uri = (*request).parsed_uri;
            if uri.scheme.is_null() {
                uri.scheme = ap_run_http_scheme(request).cast_mut();
            }
            if uri.port == 0 {
                uri.port = ap_get_server_port(request);
                uri.port_str = pool.copy(uri.port.to_string().as_bytes());
            }
            if uri.hostname.is_null() {
                uri.hostname = ap_get_server_name_for_url(request).cast_mut();
            }
            bytes(apr_uri_unparse((*request).pool, &raw const uri, 0)).unwrap_or_default()
        }
    }
}
