//! The Apache Portable Runtime made safe. It contains no `ap_*`, so that it can be tested against the
//! real library, and knows nothing of requests.
#![allow(unsafe_code, reason = "this room is the fence around APR")]

mod brigade;
mod guard;
mod pool;
mod status;
mod table;

pub(crate) use brigade::{Brigade, Bucket, FileFlags};
pub(crate) use guard::guard;
pub(crate) use pool::Pool;
pub(crate) use status::Status;
pub(crate) use table::Table;

use std::ffi::{CStr, c_char};

/// The bytes of a C string owned by a pool.
///
/// # Safety
/// `text` is null or NUL-terminated, and neither changes nor goes away during `'p`.
pub(crate) unsafe fn bytes<'p>(text: *const c_char) -> Option<&'p [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}
