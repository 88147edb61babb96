//! Hooks: a trait for each, and the C function httpd calls for it.

use super::{Request, Server, guard};
use crate::apr::{Pool, Table};
use crate::bindings::{
    AP_FILTER_ERROR, DECLINED, HTTP_INTERNAL_SERVER_ERROR, OK, SUSPENDED, ap_generation_t,
    ap_hook_check_config, ap_hook_child_init, ap_hook_child_status, ap_hook_handler,
    ap_hook_log_transaction, ap_hook_monitor, ap_hook_post_config, ap_hook_translate_name,
    apr_pool_t, mpm_child_status, pid_t, request_rec, server_rec, shim_hook_child_stopping,
};
use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;

/// What a request hook says to httpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not ours.
    Declined,
    /// Done.
    Done,
    /// To be answered with this HTTP status.
    Status(u16),
    /// The rest happens without httpd's thread ([`Request::suspend`]).
    Suspended,
    /// An output filter has failed; httpd answers with 500 if nothing has gone out.
    FilterFailed,
}

impl Outcome {
    pub(super) fn into_raw(self) -> c_int {
        match self {
            Self::Declined => DECLINED,
            Self::Done => OK as c_int,
            Self::Status(status) => c_int::from(status),
            Self::Suspended => SUSPENDED,
            Self::FilterFailed => AP_FILTER_ERROR,
        }
    }
}

/// Answers requests (`ap_hook_handler`).
pub(crate) trait ContentHandler {
    fn handle(request: &mut Request<'_>) -> Outcome;
}

/// Prepares the log of a request that httpd has redirected internally, of which it logs the last one of the chain
/// (`ap_hook_log_transaction`).
pub(crate) trait RedirectedLog {
    /// `environments` are those of the requests of the chain, in their order, and `pool` is theirs.
    fn before_log<'call>(pool: Pool<'call>, environments: &[Table<'call>]);
}

/// Says which file a URL means (`ap_hook_translate_name`).
pub(crate) trait TranslateName {
    fn translate(request: &mut Request<'_>) -> Outcome;
}

/// Looks at the configuration once all of it has been read, also for `apachectl configtest`, as root
/// (`ap_hook_check_config`). An error stops the start.
pub(crate) trait CheckConfig {
    fn check(configuration: Pool<'_>, main: Server<'_>) -> Result<(), String>;
}

/// Prepares what the configuration asks for, as root, twice at a cold start (`ap_hook_post_config`).
/// An error stops the start.
pub(crate) trait PostConfig {
    fn post_config(configuration: Pool<'_>, main: Server<'_>) -> Result<(), String>;
}

/// Called when all modules have prepared what the configuration asks for, just before the multi-processing module takes
/// over, at a start and at each restart (the last `ap_hook_post_config`).
pub(crate) trait BeforeServing {
    fn before_serving(main: Server<'_>);
}

/// Runs in each new child process (`ap_hook_child_init`).
pub(crate) trait ChildInit {
    fn start(child: Pool<'_>, main: Server<'_>);
}

/// Is told that a child process ends: on a thread of httpd, or under prefork in a signal handler, wherever that finds its one
/// thread (`ap_hook_child_stopping`).
pub(crate) trait ChildStopping {
    /// Without grace: ends what the process waits for.
    fn stop();
    /// As soon as its requests are done.
    fn drain();
}

/// Is told in the parent that a child process of the multi-processing module has ended (`ap_hook_child_status`).
pub(crate) trait ChildEnded {
    fn ended(pid: u32);
}

/// Looks after what the parent has to look after, every ten seconds or so, sooner where children die
/// (`ap_hook_monitor`).
pub(crate) trait Monitor {
    fn monitor(main: Server<'_>);
}

/// When a hook runs among those of other modules.
pub(crate) struct Order {
    /// After these.
    pub(crate) after: &'static [&'static CStr],
    /// Before these.
    pub(crate) before: &'static [&'static CStr],
}

impl Order {
    pub(crate) const MIDDLE: Self = Self { after: &[], before: &[] };

    /// Null-terminated lists as httpd wants them, kept for ever: hooks are sorted later.
    pub(super) fn lists(&self) -> (*const *const c_char, *const *const c_char) {
        let list = |names: &[&'static CStr]| {
            if names.is_empty() {
                return std::ptr::null();
            }
            let names = names.iter().map(|name| name.as_ptr()).chain([std::ptr::null()]);
            Vec::leak(names.collect()).as_ptr()
        };
        (list(self.after), list(self.before))
    }
}

/// `APR_HOOK_MIDDLE`.
pub(super) const MIDDLE: c_int = 10;
/// `APR_HOOK_REALLY_FIRST`.
const REALLY_FIRST: c_int = -10;
/// `APR_HOOK_REALLY_LAST`.
const REALLY_LAST: c_int = 30;

pub(crate) fn hook_content_handler<H: ContentHandler>(order: &Order) {
    unsafe extern "C" fn call<H: ContentHandler>(raw: *mut request_rec) -> c_int {
        guard(HTTP_INTERNAL_SERVER_ERROR as c_int, || {
            // SAFETY: httpd lends a live request for the length of the call.
            let mut request = unsafe { Request::from_raw(raw) };
            H::handle(&mut request).into_raw()
        })
    }
    let (after, before) = order.lists();
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_handler(Some(call::<H>), after, before, MIDDLE) };
}

pub(crate) fn hook_redirected_log<H: RedirectedLog>() {
    unsafe extern "C" fn call<H: RedirectedLog>(raw: *mut request_rec) -> c_int {
        // SAFETY: httpd lends a live request for the length of the call.
        if unsafe { (*raw).next }.is_null() {
            return DECLINED;
        }
        guard((), || {
            // SAFETY: as above; httpd keeps all requests of a chain until its first one has been logged, and they
            // share one pool.
            let (pool, environments) = unsafe {
                let chain = std::iter::successors(NonNull::new(raw), |it| {
                    NonNull::new((*it.as_ptr()).next)
                });
                let tables = chain.map(|it| Table::from_raw((*it.as_ptr()).subprocess_env));
                (Pool::from_raw((*raw).pool), tables.collect::<Vec<_>>())
            };
            H::before_log(pool, &environments);
        });
        DECLINED
    }
    let none = std::ptr::null();
    // SAFETY: called from register_hooks, where httpd takes hooks; the function is static.
    unsafe { ap_hook_log_transaction(Some(call::<H>), none, none, REALLY_FIRST) };
}

pub(crate) fn hook_translate_name<H: TranslateName>(order: &Order) {
    unsafe extern "C" fn call<H: TranslateName>(raw: *mut request_rec) -> c_int {
        guard(HTTP_INTERNAL_SERVER_ERROR as c_int, || {
            // SAFETY: httpd lends a live request for the length of the call.
            let mut request = unsafe { Request::from_raw(raw) };
            H::translate(&mut request).into_raw()
        })
    }
    let (after, before) = order.lists();
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_translate_name(Some(call::<H>), after, before, MIDDLE) };
}

pub(crate) fn hook_check_config<H: CheckConfig>(order: &Order) {
    unsafe extern "C" fn call<H: CheckConfig>(
        configuration: *mut apr_pool_t,
        _log: *mut apr_pool_t,
        _temporary: *mut apr_pool_t,
        main: *mut server_rec,
    ) -> c_int {
        // SAFETY: httpd lends live pools and the main server for the length of the call.
        unsafe { configuration_hook(configuration, main, H::check) }
    }
    let (after, before) = order.lists();
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_check_config(Some(call::<H>), after, before, MIDDLE) };
}

pub(crate) fn hook_post_config<H: PostConfig>(order: &Order) {
    unsafe extern "C" fn call<H: PostConfig>(
        configuration: *mut apr_pool_t,
        _log: *mut apr_pool_t,
        _temporary: *mut apr_pool_t,
        main: *mut server_rec,
    ) -> c_int {
        // SAFETY: httpd lends live pools and the main server for the length of the call.
        unsafe { configuration_hook(configuration, main, H::post_config) }
    }
    let (after, before) = order.lists();
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_post_config(Some(call::<H>), after, before, MIDDLE) };
}

/// # Safety
/// Pool and server are live for the length of the call.
unsafe fn configuration_hook(
    configuration: *mut apr_pool_t,
    main: *mut server_rec,
    body: fn(Pool<'_>, Server<'_>) -> Result<(), String>,
) -> c_int {
    guard(HTTP_INTERNAL_SERVER_ERROR as c_int, || {
        // SAFETY: the caller's promise.
        let (pool, main) = unsafe { (Pool::from_raw(configuration), Server::from_raw(main)) };
        match body(pool, main) {
            Ok(()) => OK as c_int,
            Err(why) => {
                super::log_server(main, wsgi::Level::Emergency, why.as_bytes());
                HTTP_INTERNAL_SERVER_ERROR as c_int
            }
        }
    })
}

pub(crate) fn hook_before_serving<H: BeforeServing>(order: &Order) {
    unsafe extern "C" fn call<H: BeforeServing>(
        _configuration: *mut apr_pool_t,
        _log: *mut apr_pool_t,
        _temporary: *mut apr_pool_t,
        main: *mut server_rec,
    ) -> c_int {
        guard((), || {
            // SAFETY: httpd lends the main server of its configuration.
            H::before_serving(unsafe { Server::from_raw(main) });
        });
        OK as c_int
    }
    let (after, before) = order.lists();
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_post_config(Some(call::<H>), after, before, REALLY_LAST) };
}

pub(crate) fn hook_child_init<H: ChildInit>(order: &Order) {
    unsafe extern "C" fn call<H: ChildInit>(child: *mut apr_pool_t, main: *mut server_rec) {
        guard((), || {
            // SAFETY: httpd lends the child's pool, and the main server of its configuration.
            let (pool, main) = unsafe { (Pool::from_raw(child), Server::from_raw(main)) };
            H::start(pool, main);
        });
    }
    let (after, before) = order.lists();
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_child_init(Some(call::<H>), after, before, MIDDLE) };
}

/// Does nothing before httpd 2.4.49.
pub(crate) fn hook_child_stopping<H: ChildStopping>() {
    unsafe extern "C" fn call<H: ChildStopping>(_child: *mut apr_pool_t, graceful: c_int) {
        guard((), || if graceful == 0 { H::stop() } else { H::drain() });
    }
    // SAFETY: called from register_hooks, where httpd takes hooks; the function is static.
    unsafe { shim_hook_child_stopping(Some(call::<H>)) };
}

pub(crate) fn hook_child_ended<H: ChildEnded>() {
    unsafe extern "C" fn call<H: ChildEnded>(
        _main: *mut server_rec,
        pid: pid_t,
        _generation: ap_generation_t,
        _slot: c_int,
        state: mpm_child_status::Type,
    ) {
        if state == mpm_child_status::MPM_CHILD_EXITED {
            guard((), || u32::try_from(pid).into_iter().for_each(H::ended));
        }
    }
    let none = std::ptr::null();
    // SAFETY: called from register_hooks, where httpd takes hooks; the function is static.
    unsafe { ap_hook_child_status(Some(call::<H>), none, none, MIDDLE) };
}

pub(crate) fn hook_monitor<H: Monitor>(order: &Order) {
    unsafe extern "C" fn call<H: Monitor>(_pool: *mut apr_pool_t, main: *mut server_rec) -> c_int {
        guard((), || {
            // SAFETY: httpd lends the main server of its configuration.
            H::monitor(unsafe { Server::from_raw(main) });
        });
        // Others look, too.
        DECLINED
    }
    let (after, before) = order.lists();
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_monitor(Some(call::<H>), after, before, MIDDLE) };
}
