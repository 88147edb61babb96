//! Our configs where httpd keeps them: made, merged and found again.

use crate::apr::Pool;
use crate::bindings::{apr_pool_t, server_rec};
use crate::config::{DirectoryConfig, ProcessConfig, ServerConfig};
use crate::httpd::{Server, guard};
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// What hangs on a server. The main server's carries what is about the whole process; a virtual host's
/// own is never looked at.
pub(crate) struct ServerSlot {
    pub(crate) server: ServerConfig,
    pub(crate) process: UnsafeCell<ProcessConfig>,
}

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
        let slot: *mut ServerSlot = pool
            .adopt(ServerSlot { server: ServerConfig::default(), process: UnsafeCell::default() });
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
            (Pool::from_raw(pool), &*parent.cast::<ServerSlot>(), &*child.cast::<ServerSlot>())
        };
        let slot: *mut ServerSlot = pool.adopt(ServerSlot {
            server: ServerConfig::merge(&parent.server, &child.server),
            process: UnsafeCell::default(),
        });
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

/// The process-wide config of the configuration being read.
///
/// # Safety
/// While configuration files are being read, by the one thread that reads them, and one borrow at a time.
pub(crate) unsafe fn process_config_being_read<'p>() -> Option<&'p mut ProcessConfig> {
    // SAFETY: the caller's promise; the pointer is cleared before what it points to goes.
    unsafe { MAIN.load(Ordering::Acquire).as_ref().map(|slot| &mut *slot.process.get()) }
}
