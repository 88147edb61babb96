//! What httpd itself is, how its multi-processing module is set up, and whom it runs as.

use crate::apr::Pool;
use crate::bindings::{
    AP_MPMQ_MAX_DAEMONS, AP_MPMQ_MAX_THREADS, AP_SERVER_MAJORVERSION_NUMBER,
    AP_SERVER_MINORVERSION_NUMBER, AP_SERVER_PATCHLEVEL_NUMBER, ap_add_version_component,
    ap_exists_config_define, ap_get_server_built, ap_get_server_description, ap_mpm_query,
    ap_show_mpm, ap_unixd_config, shim_register_https_lookup,
};
use std::ffi::c_int;

/// Questions about the running httpd.
pub(crate) struct Facts;

impl Facts {
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
        // SAFETY: a NUL-terminated name.
        unsafe { ap_exists_config_define(c"ONE_PROCESS".as_ptr()) != 0 }
    }

    /// Adds a component to the `Server` header, for `ServerTokens Full`.
    pub(crate) fn add_version_component(pool: Pool<'_>, component: &str) {
        // SAFETY: the configuration's pool; httpd copies the text.
        unsafe { ap_add_version_component(pool.as_ptr(), pool.copy(component.as_bytes())) };
    }

    /// Asks mod_ssl how to tell whether a connection is encrypted.
    pub(crate) fn find_https_lookup() {
        // SAFETY: called from post_config, when all modules have registered their functions.
        unsafe { shim_register_https_lookup() };
    }
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
}

fn number(query: u32) -> Option<i64> {
    let mut result: c_int = 0;
    // SAFETY: `result` is written by the MPM when it knows the answer.
    let status = unsafe { ap_mpm_query(query as c_int, &raw mut result) };
    (status == 0).then_some(i64::from(result))
}
