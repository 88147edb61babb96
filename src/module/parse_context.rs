//! Answers to what a directive may ask of the world around its line.

use crate::apr::{Pool, bytes};
use crate::bindings::{
    ap_directive_t, ap_server_root_relative, apr_gid_get, apr_uid_get, apr_uid_name_get, cmd_parms,
};
use crate::config::{ParseContext, Pattern, ServerIdentity};
use crate::httpd::{Regex, Server, log_config_line};
use std::ffi::CString;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use wsgi::Level;

/// The context of the line httpd is reading.
pub(super) struct HttpdContext<'a> {
    pool: Pool<'a>,
    server: Server<'a>,
    in_section: bool,
    place: String,
    lent: PhantomData<&'a cmd_parms>,
}

impl HttpdContext<'_> {
    /// # Safety
    /// `parms` is what httpd called a command with, which is still running while the result lives.
    pub(super) unsafe fn of(parms: *mut cmd_parms) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                pool: Pool::from_raw((*parms).temp_pool),
                server: Server::from_raw((*parms).server),
                in_section: !(*parms).path.is_null(),
                place: place((*parms).directive),
                lent: PhantomData,
            }
        }
    }
}

impl ParseContext for HttpdContext<'_> {
    fn server_root_relative(&self, path: &[u8]) -> Option<Vec<u8>> {
        // SAFETY: the pool is live and the copy NUL-terminated.
        let resolved =
            unsafe { bytes(ap_server_root_relative(self.pool.as_ptr(), self.pool.copy(path))) };
        resolved.map(<[u8]>::to_vec)
    }

    fn compile(&self, pattern: &[u8]) -> Option<Arc<dyn Pattern>> {
        Some(Arc::new(Regex::new(pattern)?))
    }

    fn in_section(&self) -> bool {
        self.in_section
    }

    fn server(&self) -> ServerIdentity {
        ServerIdentity {
            name: self.server.name().map(<[u8]>::to_vec),
            is_virtual: self.server.is_virtual(),
            port: self.server.port(),
            defined_at: self.server.defined_at(),
        }
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn warn(&self, sentence: &str) {
        log_config_line(self.server, Level::Warning, sentence.as_bytes());
    }

    fn notice(&self, sentence: &str) {
        log_config_line(self.server, Level::Info, sentence.as_bytes());
    }

    fn user_id(&self, name: &[u8]) -> Option<u32> {
        let mut uid = 0;
        let mut gid = 0;
        if let Some(id) = number(name) {
            let mut found = std::ptr::null_mut();
            // SAFETY: the pool is live; the name is written on success.
            let status = unsafe { apr_uid_name_get(&raw mut found, id, self.pool.as_ptr()) };
            return (status == 0).then_some(id);
        }
        let name = CString::new(name).ok()?;
        // SAFETY: the pool is live; both ids are written on success.
        let status =
            unsafe { apr_uid_get(&raw mut uid, &raw mut gid, name.as_ptr(), self.pool.as_ptr()) };
        (status == 0).then_some(uid)
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        if let Some(id) = number(name) {
            return Some(id);
        }
        let name = CString::new(name).ok()?;
        let mut gid = 0;
        // SAFETY: the pool is live; the id is written on success.
        let status = unsafe { apr_gid_get(&raw mut gid, name.as_ptr(), self.pool.as_ptr()) };
        (status == 0).then_some(gid)
    }

    fn is_root(&self) -> bool {
        sys::is_root()
    }
}

/// `file:line` of a directive.
///
/// # Safety
/// `directive` is null or of the tree that httpd reads, which is not changed during the call.
unsafe fn place(directive: *const ap_directive_t) -> String {
    // SAFETY: the caller's promise; the file's name is a NUL-terminated string of the tree's pool.
    let Some(directive) = (unsafe { directive.as_ref() }) else { return String::new() };
    // SAFETY: as before.
    let file = unsafe { bytes(directive.filename) }.unwrap_or_default();
    format!("{}:{}", String::from_utf8_lossy(file), directive.line_num)
}

/// The id in `#id`.
fn number(name: &[u8]) -> Option<u32> {
    std::str::from_utf8(name.strip_prefix(b"#")?).ok()?.parse().ok()
}

impl Pattern for Regex {
    fn find(&self, subject: &[u8]) -> Option<Vec<Option<Range<usize>>>> {
        Self::find(self, subject)
    }
}
