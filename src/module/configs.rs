//! Our configs where httpd keeps them: made, merged and found again.

use crate::apr::Pool;
use crate::bindings::{apr_pool_t, server_rec};
use crate::config::{DirectoryConfig, ProcessConfig, ScriptAlias, ServerConfig};
use crate::httpd::{Request, Server, guard};
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// What hangs on a server. The main server's carries what is about the whole process; a virtual host's
/// own is never looked at.
pub(super) struct ServerSlot {
    pub(super) server: ServerConfig,
    pub(super) process: UnsafeCell<ProcessConfig>,
}

/// The main server's slot of the configuration that is being read or in force. It is cleared when that
/// configuration goes, because this static outlives it (docs/safety.md).
static MAIN: AtomicPtr<ServerSlot> = AtomicPtr::new(std::ptr::null_mut());

struct ForgetMain(*mut ServerSlot);

impl Drop for ForgetMain {
    fn drop(&mut self) {
        let gone = std::ptr::null_mut();
        // Another configuration may have taken its place already; then there is nothing to forget.
        let _ = MAIN.compare_exchange(self.0, gone, Ordering::AcqRel, Ordering::Relaxed);
    }
}

pub(super) unsafe extern "C" fn create_server(
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
            pool.adopt(ForgetMain(slot));
        }
        slot.cast()
    })
}

pub(super) unsafe extern "C" fn merge_server(
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

pub(super) unsafe extern "C" fn create_directory(
    pool: *mut apr_pool_t,
    _directory: *mut c_char,
) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        // SAFETY: httpd calls with the pool the section lives in.
        let pool = unsafe { Pool::from_raw(pool) };
        (&raw mut *pool.adopt(DirectoryConfig::default())).cast()
    })
}

pub(super) unsafe extern "C" fn merge_directory(
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

/// The aliases of a server.
pub(crate) fn server_config<'s>(server: Server<'s>) -> Option<&'s ServerConfig> {
    // SAFETY: made by `create_server` or `merge_server`, not changed once it is read.
    unsafe { server.config().cast::<ServerSlot>().as_ref() }.map(|slot| &slot.server)
}

/// What a server says of directories outside every section.
pub(crate) fn server_defaults<'s>(server: Server<'s>) -> Option<&'s DirectoryConfig> {
    // SAFETY: made by `create_directory` or `merge_directory`, not changed once it is read.
    unsafe { server.directory_defaults().cast::<DirectoryConfig>().as_ref() }
}

/// What is about the whole process, of the configuration in force; `main` is its main server.
pub(crate) fn process_config<'s>(main: Server<'s>) -> Option<&'s ProcessConfig> {
    // SAFETY: made by `create_server`; the lines that write to it have been read.
    unsafe { main.config().cast::<ServerSlot>().as_ref().map(|slot| &*slot.process.get()) }
}

/// The merged settings of the place a request is for; `None` where none of our directives applied.
pub(crate) fn directory_config<'call>(request: &Request<'call>) -> Option<&'call DirectoryConfig> {
    // SAFETY: made by `create_directory` or `merge_directory`; lives as long as the request.
    unsafe { request.directory_config().cast::<DirectoryConfig>().as_ref() }
}

/// The note under which mod_alias says that an alias made the handler; other modules look at it.
const MARK: &CStr = c"alias-forced-type";

/// Marks a request as one that came through `alias`.
///
/// Notes go along where httpd puts a subrequest in a request's place, as for `DirectoryIndex` and
/// `FallbackResource`, and nowhere else. They would also stay behind, if what comes in a request's place
/// has none of its own; hence the URL path.
pub(crate) fn remember_alias<'call>(request: &mut Request<'call>, alias: &'call ScriptAlias) {
    // SAFETY: the alias is of the configuration, which outlives its requests.
    unsafe { request.notes().set_lent(MARK, &alias.mark) };
    request.remember_uri();
}

/// The alias a request came through.
pub(crate) fn alias_of<'call>(request: &Request<'call>) -> Option<&'call ScriptAlias> {
    let mark = request.notes().get(MARK)?;
    let alias = server_config(request.server())?.marked(mark)?;
    let holds = request.has_remembered_uri() || alias.matches(request.uri()).is_some();
    holds.then_some(alias)
}

/// The process-wide config of the configuration being read.
///
/// # Safety
/// While configuration files are being read, by the one thread that reads them, and one borrow at a time.
pub(super) unsafe fn process_config_being_read<'p>() -> Option<&'p mut ProcessConfig> {
    // SAFETY: the caller's promise; the pointer is cleared before what it points to goes.
    unsafe { MAIN.load(Ordering::Acquire).as_ref().map(|slot| &mut *slot.process.get()) }
}
