//! C strings that pools own, as bytes.

use std::ffi::{CStr, c_char};

/// The bytes of a C string owned by a pool.
///
/// # Safety
/// `text` is null or NUL-terminated, and neither changes nor goes away during `'p`.
pub(crate) unsafe fn bytes<'p>(text: *const c_char) -> Option<&'p [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}
