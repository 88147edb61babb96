//! A server of the configuration: the main one or a virtual host.

use super::module::{module_config, module_index};
use crate::bindings::{server_rec, shim_server_level};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A server that lives at least as long as `'s`.
#[derive(Clone, Copy)]
pub(crate) struct Server<'s> {
    raw: NonNull<server_rec>,
    lives: PhantomData<&'s server_rec>,
}

impl<'s> Server<'s> {
    /// # Safety
    /// `raw` is a server whose configuration is not discarded during `'s`.
    pub(crate) const unsafe fn from_raw(raw: *mut server_rec) -> Self {
        // SAFETY: the caller's promise.
        Self { raw: unsafe { NonNull::new_unchecked(raw) }, lives: PhantomData }
    }

    pub(crate) const fn as_ptr(self) -> *mut server_rec {
        self.raw.as_ptr()
    }

    /// The main server of the configuration in force, once there is one.
    pub(crate) fn main() -> Option<Self> {
        // SAFETY: httpd sets it once the configuration has been read.
        let raw = unsafe { crate::bindings::ap_server_conf };
        // SAFETY: null, or the main server of the configuration in force.
        (!raw.is_null()).then(|| unsafe { Self::from_raw(raw) })
    }

    /// The pool of the process, which outlives every configuration.
    pub(crate) fn process_pool(self) -> crate::apr::Pool<'s> {
        // SAFETY: every server has a process record, and that a pool.
        unsafe { crate::apr::Pool::from_raw((*self.record().process).pool) }
    }

    fn record(self) -> &'s server_rec {
        // SAFETY: the promise made at `from_raw`; httpd does not change a server while it serves.
        unsafe { self.raw.as_ref() }
    }

    /// This module's config of the server, as its config callback made it.
    pub(crate) fn config(self) -> *mut c_void {
        // SAFETY: the server is live and the module registered.
        unsafe { module_config(self.record().module_config) }
    }

    /// This module's config for directories of which no section speaks.
    pub(crate) fn directory_defaults(self) -> *mut c_void {
        // SAFETY: a live server (`from_raw`), whose vectors of configurations live as long.
        unsafe { module_config(self.record().lookup_defaults) }
    }

    /// `ServerName` without its port, as configured.
    pub(crate) fn name(self) -> Option<&'s [u8]> {
        // SAFETY: a string of the configuration's pool, or null.
        unsafe { crate::apr::bytes(self.record().server_hostname) }
    }

    /// The port of `ServerName`; 0 where it has none.
    pub(crate) fn port(self) -> u16 {
        self.record().port
    }

    /// Whether it is a virtual host.
    pub(crate) fn is_virtual(self) -> bool {
        self.record().is_virtual != 0
    }

    /// `file:line` of its definition.
    pub(crate) fn defined_at(self) -> String {
        // SAFETY: a string of the configuration's pool, or null.
        let file = unsafe { crate::apr::bytes(self.record().defn_name) }.unwrap_or_default();
        format!("{}:{}", String::from_utf8_lossy(file), self.record().defn_line_number)
    }

    /// `LogLevel` for this module, as an `APLOG_*` number.
    pub(crate) fn log_level(self) -> u8 {
        // SAFETY: a live server; httpd gives each module its index before any hook runs.
        let level = unsafe { shim_server_level(self.as_ptr(), module_index()) };
        u8::try_from(level).unwrap_or(0)
    }

    /// `Timeout`.
    pub(crate) fn timeout(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.record().timeout).unwrap_or(0))
    }

    /// `ServerAdmin`.
    pub(crate) fn admin(self) -> Option<&'s [u8]> {
        // SAFETY: a string of the configuration's pool, or null.
        unsafe { crate::apr::bytes(self.record().server_admin) }
    }

    /// This server and all that follow it in httpd's list: from the main one, all of them.
    pub(crate) fn and_following(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |server| {
            let next = server.record().next;
            // SAFETY: a server of the same list lives as long.
            (!next.is_null()).then(|| unsafe { Self::from_raw(next) })
        })
    }
}
