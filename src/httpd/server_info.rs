//! What httpd itself is, how its multi-processing module is set up, and under which account it runs.

use crate::apr::Pool;
use crate::bindings::{
    AP_MPMQ_HARD_LIMIT_DAEMONS, AP_MPMQ_HARD_LIMIT_THREADS, AP_MPMQ_MAX_DAEMONS,
    AP_MPMQ_MAX_SPARE_DAEMONS, AP_MPMQ_MAX_SPARE_THREADS, AP_MPMQ_MAX_THREADS,
    AP_MPMQ_MIN_SPARE_DAEMONS, AP_MPMQ_MIN_SPARE_THREADS, AP_MPMQ_MPM_STATE, AP_MPMQ_STOPPING,
    AP_SERVER_MAJORVERSION_NUMBER, AP_SERVER_MINORVERSION_NUMBER, AP_SERVER_PATCHLEVEL_NUMBER,
    AP_SQ_MAIN_STATE, AP_SQ_MS_CREATE_PRE_CONFIG, APR_OC_REASON_DEATH, APR_OC_REASON_LOST,
    ap_add_version_component, ap_close_listeners, ap_conftree, ap_directive_t,
    ap_exists_config_define, ap_get_server_built, ap_get_server_description, ap_mpm_query,
    ap_runtime_dir_relative, ap_server_conf, ap_show_mpm, ap_state_query, ap_unixd_config,
    apr_palloc, apr_proc_other_child_register, apr_proc_other_child_unregister, apr_proc_t,
    shim_register_https_lookup,
};
use std::ffi::{CStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;

/// Is called when processes end that are the parent's children but not httpd's own.
pub(crate) trait OtherChild {
    /// `number` is what httpd has: APR's, which is the exit status or the number of the signal, without saying
    /// which; or that of waitpid(2); or -1 where another part of httpd has waited for it.
    fn on_child_exit(pid: u32, number: i32);
}

/// Questions about the running httpd.
pub(crate) struct ServerInfo;

impl ServerInfo {
    /// The version of the headers this module was compiled against.
    pub(crate) const VERSION: (i64, i64, i64) = (
        AP_SERVER_MAJORVERSION_NUMBER as i64,
        AP_SERVER_MINORVERSION_NUMBER as i64,
        AP_SERVER_PATCHLEVEL_NUMBER as i64,
    );

    /// `Apache/2.4.x (…) …`.
    pub(crate) fn description() -> String {
        // SAFETY: a string of the configuration.
        unsafe { text(ap_get_server_description()) }
    }

    /// When httpd was built.
    pub(crate) fn built() -> String {
        // SAFETY: a static string.
        unsafe { text(ap_get_server_built()) }
    }

    /// `User` and `Group` that children run as.
    pub(crate) fn account() -> (u32, u32) {
        // SAFETY: filled while the configuration is read, by this thread.
        unsafe { (ap_unixd_config.user_id, ap_unixd_config.group_id) }
    }

    /// `httpd -X`: there is one process and no other.
    pub(crate) fn is_single_process() -> bool {
        // `-X` is the same as `-D DEBUG`.
        // SAFETY: NUL-terminated names.
        [c"DEBUG", c"ONE_PROCESS"]
            .iter()
            .any(|name| unsafe { ap_exists_config_define(name.as_ptr()) != 0 })
    }

    /// Whether a line of the configuration names one of these in its arguments.
    pub(crate) fn config_mentions(words: &[&CStr]) -> bool {
        // SAFETY: httpd has read the configuration, and keeps its tree until it reads the next one.
        unsafe { tree_mentions(ap_conftree, words) }
    }

    /// Adds a component to the `Server` header, for `ServerTokens Full`.
    pub(crate) fn add_version_component(pool: Pool<'_>, component: &str) {
        // SAFETY: the configuration's pool; httpd copies the text.
        unsafe { ap_add_version_component(pool.as_ptr(), pool.copy(component.as_bytes())) };
    }

    /// A file name in `DefaultRuntimeDir`.
    pub(crate) fn runtime_file(pool: Pool<'_>, name: &CStr) -> std::path::PathBuf {
        // SAFETY: the configuration's pool; httpd gives a string of it or null.
        let path =
            unsafe { crate::apr::bytes(ap_runtime_dir_relative(pool.as_ptr(), name.as_ptr())) };
        std::path::PathBuf::from(std::ffi::OsStr::from_bytes(path.unwrap_or_default()))
    }

    /// Whether this is the first of the two readings of the configuration at a cold start, after which
    /// everything is done again.
    pub(crate) fn is_first_config_pass() -> bool {
        // SAFETY: a query of a number.
        unsafe { ap_state_query(AP_SQ_MAIN_STATE as c_int) == AP_SQ_MS_CREATE_PRE_CONFIG as c_int }
    }

    /// In a process that serves no requests: gives up the sockets that httpd listens on.
    pub(crate) fn close_listeners() {
        // SAFETY: closes the sockets of httpd's own list. Called where no other thread runs, in a copy of the parent that
        // accepts nothing.
        unsafe { ap_close_listeners() };
    }

    /// Has httpd tell `C` when the child process `pid` of the parent dies.
    pub(crate) fn watch<C: OtherChild>(pid: u32) {
        unsafe extern "C" fn call<C: OtherChild>(reason: c_int, data: *mut c_void, status: c_int) {
            crate::apr::guard((), || {
                let gone = [APR_OC_REASON_DEATH, APR_OC_REASON_LOST].map(|reason| reason as c_int);
                if !gone.contains(&reason) {
                    return;
                }
                // SAFETY: the registration below, which ends with the process it was for.
                unsafe { apr_proc_other_child_unregister(data) };
                let pid = u32::try_from(data.addr()).unwrap_or(0);
                C::on_child_exit(pid, status);
            });
        }
        // SAFETY: a zeroed apr_proc_t with its pid is all that APR looks at, and it keeps a copy in a
        // structure of the pool; the data is a number that is never followed. The pool is the process'
        // own, so that the registration survives restarts.
        unsafe {
            let Some(server) = ap_server_conf.as_ref() else { return };
            let pool = (*server.process).pool;
            let process = apr_palloc(pool, size_of::<apr_proc_t>()).cast::<apr_proc_t>();
            process.write_bytes(0, 1);
            (*process).pid = libc::pid_t::try_from(pid).unwrap_or(0);
            let data = std::ptr::without_provenance_mut(pid as usize);
            apr_proc_other_child_register(
                process,
                Some(call::<C>),
                data,
                std::ptr::null_mut(),
                pool,
            );
        }
    }

    /// Asks mod_ssl how to tell whether a connection is encrypted.
    pub(crate) fn find_https_lookup() {
        // SAFETY: called from post_config, when all modules have registered their functions.
        unsafe { shim_register_https_lookup() };
    }
}

/// Whether a line of the tree names one of these in its arguments.
///
/// # Safety
/// `first` is null or of a tree of the configuration that is not changed during the call.
unsafe fn tree_mentions(first: *const ap_directive_t, words: &[&CStr]) -> bool {
    let mut line = first;
    // SAFETY: the caller's promise; each line leads to the next one and to those inside of it.
    while let Some(directive) = unsafe { line.as_ref() } {
        // SAFETY: the arguments are a NUL-terminated string of the tree's pool.
        let arguments = unsafe { crate::apr::bytes(directive.args) }.unwrap_or_default();
        let names = |word: &&CStr| {
            let word = word.to_bytes();
            arguments.windows(word.len()).any(|part| part == word)
        };
        // SAFETY: the caller's promise.
        if words.iter().any(names) || unsafe { tree_mentions(directive.first_child, words) } {
            return true;
        }
        line = directive.next;
    }
    false
}

/// # Safety
/// `raw` is null or NUL-terminated.
unsafe fn text(raw: *const std::ffi::c_char) -> String {
    // SAFETY: the caller's promise.
    let bytes = unsafe { crate::apr::bytes(raw) };
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Sizes of the running MPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mpm {
    /// `event`, `worker` or `prefork`.
    pub(crate) name: String,
    /// How many child processes there may be, at least 1.
    pub(crate) processes: i64,
    /// How many threads a child has, at least 1.
    pub(crate) threads: i64,
}

impl Mpm {
    pub(crate) fn query() -> Self {
        // SAFETY: a static string of the MPM.
        let name = unsafe { text(ap_show_mpm()) };
        let processes = number(AP_MPMQ_MAX_DAEMONS).unwrap_or(1).max(1);
        let threads = number(AP_MPMQ_MAX_THREADS).unwrap_or(1).max(1);
        Self { name, processes, threads }
    }

    /// How many child processes there may be, and how many threads a child may have, in any configuration until the
    /// server is stopped; at least 1.
    pub(crate) fn limits() -> (usize, usize) {
        let limit =
            |query| number(query).and_then(|it| usize::try_from(it).ok()).unwrap_or(1).max(1);
        (limit(AP_MPMQ_HARD_LIMIT_DAEMONS), limit(AP_MPMQ_HARD_LIMIT_THREADS))
    }

    /// How many threads may be idle, children that start included, before the parent ends a child at its next look. Where
    /// each child has one thread, these are the spare children.
    pub(crate) fn most_idle_threads(&self) -> i64 {
        let of = |query| number(query).unwrap_or(0);
        // Each module raises its maximum to one child above the minimum, so that children do not come and go.
        if self.name == "prefork" {
            of(AP_MPMQ_MAX_SPARE_DAEMONS).max(of(AP_MPMQ_MIN_SPARE_DAEMONS) + 1)
        } else {
            of(AP_MPMQ_MAX_SPARE_THREADS).max(of(AP_MPMQ_MIN_SPARE_THREADS) + self.threads)
        }
    }

    /// Whether it serves no new connections any more, because the server stops or restarts.
    pub(crate) fn is_stopping() -> bool {
        number(AP_MPMQ_MPM_STATE) == Some(AP_MPMQ_STOPPING.into())
    }
}

fn number(query: u32) -> Option<i64> {
    let mut result: c_int = 0;
    // SAFETY: `result` is written by the MPM when it knows the answer.
    let status = unsafe { ap_mpm_query(query as c_int, &raw mut result) };
    (status == 0).then_some(i64::from(result))
}
