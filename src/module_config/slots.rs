//! Our configs where httpd keeps them: made, merged and found again.

use super::server_slot::ServerSlot;
use crate::apr::Pool;
use crate::bindings::{apr_pool_t, server_rec};
use crate::config::{DirectoryConfig, ProcessConfig, ServerConfig};
use crate::httpd::{Server, guard};
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The main server's slot of the configuration that is being read or in force. It is cleared when that
/// configuration goes, because this static outlives it (docs/safety.md).
static MAIN: AtomicPtr<ServerSlot> = AtomicPtr::new(std::ptr::null_mut());

struct ClearMain(*mut ServerSlot);

impl Drop for ClearMain {
    fn drop(&mut self) {
        let gone = std::ptr::null_mut();
        // Another configuration may have taken its place already; then there is nothing to forget.
        let _ = MAIN.compare_exchange(self.0, gone, Ordering::AcqRel, Ordering::Relaxed);
    }
}

pub(crate) unsafe extern "C" fn create_server(
    pool: *mut apr_pool_t,
    server: *mut server_rec,
) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        // SAFETY: httpd calls with the configuration's pool and a server of it.
        let (pool, server) = unsafe { (Pool::from_raw(pool), Server::from_raw(server)) };
        let slot: *mut ServerSlot = pool.adopt(ServerSlot::new(ServerConfig::default()));
        if !server.is_virtual() {
            MAIN.store(slot, Ordering::Release);
            pool.adopt(ClearMain(slot));
        }
        slot.cast()
    })
}

pub(crate) unsafe extern "C" fn merge_server(
    pool: *mut apr_pool_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        // SAFETY: httpd calls with two of what `create_server` made.
        let (pool, parent, child) = unsafe {
            (
                Pool::from_raw(pool),
                ServerSlot::server(parent.cast_const().cast()),
                ServerSlot::server(child.cast_const().cast()),
            )
        };
        let (Some(parent), Some(child)) = (parent, child) else { return std::ptr::null_mut() };
        let slot: *mut ServerSlot = pool.adopt(ServerSlot::new(ServerConfig::merge(parent, child)));
        slot.cast()
    })
}

pub(crate) unsafe extern "C" fn create_directory(
    pool: *mut apr_pool_t,
    _directory: *mut c_char,
) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        // SAFETY: httpd calls with the pool the section lives in.
        let pool = unsafe { Pool::from_raw(pool) };
        (&raw mut *pool.adopt(DirectoryConfig::default())).cast()
    })
}

pub(crate) unsafe extern "C" fn merge_directory(
    pool: *mut apr_pool_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        // SAFETY: httpd calls with two of what `create_directory` made.
        let (pool, parent, child) = unsafe {
            (
                Pool::from_raw(pool),
                &*parent.cast::<DirectoryConfig>(),
                &*child.cast::<DirectoryConfig>(),
            )
        };
        (&raw mut *pool.adopt(DirectoryConfig::merge(parent, child))).cast()
    })
}

/// Where the lines of `server`'s files go: its own configuration, and that of the whole process, which the
/// main server's slot holds. Both are in the same slot where `server` is the main one.
///
/// # Safety
/// While configuration files are being read, by the one thread that reads them, and one result at a time.
pub(crate) unsafe fn configs_being_read<'s>(
    server: Server<'s>,
) -> Option<(&'s mut ServerConfig, &'s mut ProcessConfig)> {
    // SAFETY: the caller's promise. `create_server` made both slots; that of the server lives as long as it, and
    // `MAIN` is cleared before what it points to is destroyed. The two cells do not overlap.
    unsafe {
        let server = ServerSlot::server_mut(server.config().cast_const().cast())?;
        Some((server, ServerSlot::process_mut(MAIN.load(Ordering::Acquire))?))
    }
}
