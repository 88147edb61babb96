//! `str` from bytes and back.

use super::{Attached, Object, Raised, Result};
use pyo3_ffi as ffi;

impl<'py> Attached<'py> {
    /// A `str` from UTF-8 text.
    pub(crate) fn str(self, text: &str) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; CPython copies `len` bytes.
        unsafe {
            let raw = ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as isize);
            Object::from_owned(self, raw)
        }
    }

    /// A `str` in which each byte is one character (PEP 3333, "Unicode Issues").
    pub(crate) fn latin1(self, bytes: &[u8]) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; CPython copies `len` bytes; a null `errors` means strict, and every byte is a
        // latin-1 character.
        unsafe {
            let raw = ffi::PyUnicode_DecodeLatin1(
                bytes.as_ptr().cast(),
                bytes.len() as isize,
                std::ptr::null(),
            );
            Object::from_owned(self, raw)
        }
    }

    /// A `str` of a path: the file system's encoding with surrogate escapes (`os.fsdecode`).
    pub(crate) fn path(self, bytes: &[u8]) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; CPython copies `len` bytes.
        unsafe {
            let raw =
                ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), bytes.len() as isize);
            Object::from_owned(self, raw)
        }
    }

    /// An interned `str`, for keys of many lookups.
    pub(crate) fn interned(self, text: &str) -> Result<'py, Object<'py>> {
        let mut raw = self.str(text)?.into_raw();
        // SAFETY: the token proves that this thread is attached; takes the reference over and gives one back, to the same or an equal str.
        unsafe {
            ffi::PyUnicode_InternInPlace(&raw mut raw);
            Object::from_owned(self, raw)
        }
    }
}

impl<'py> Object<'py> {
    /// The text of a `str`; anything that cannot be written as UTF-8 is replaced.
    pub(crate) fn to_text(&self) -> Result<'py, String> {
        Ok(String::from_utf8_lossy(&self.utf8_replacing()?).into_owned())
    }

    /// The text of a `str`, if it can be written as UTF-8.
    pub(crate) fn to_utf8(&self) -> Option<String> {
        let mut length = 0;
        // SAFETY: the token proves that this thread is attached; the text is part of the object, which lives for the call; null means that
        // there are lone surrogates, with an exception set.
        let bytes = unsafe {
            let start = ffi::PyUnicode_AsUTF8AndSize(self.as_ptr(), &raw mut length);
            if start.is_null() {
                Raised::new(self.py()).clear();
                return None;
            }
            std::slice::from_raw_parts(start.cast::<u8>(), usize::try_from(length).unwrap_or(0))
        };
        String::from_utf8(bytes.to_vec()).ok()
    }

    /// `str(self)`, or a remark that there is none.
    pub(crate) fn text(&self) -> String {
        // SAFETY: the token proves that this thread is attached, and `self` keeps the object.
        let text = unsafe { Object::from_owned(self.py(), ffi::PyObject_Str(self.as_ptr())) };
        text.and_then(|text| text.to_text()).unwrap_or_else(|raised| {
            raised.clear();
            "(unprintable)".to_owned()
        })
    }

    /// The text of a `str` as UTF-8, lone surrogates as `?`.
    pub(crate) fn utf8_replacing(&self) -> Result<'py, Vec<u8>> {
        // SAFETY: the token proves that this thread is attached; CPython checks that it is a str.
        unsafe {
            let raw = ffi::PyUnicode_AsEncodedString(
                self.as_ptr(),
                c"utf-8".as_ptr(),
                c"replace".as_ptr(),
            );
            Object::from_owned(self.py(), raw)?.buffer_copy()
        }
    }

    /// Calls `with` with the characters of a `str` as latin-1 bytes.
    ///
    /// # Errors
    /// CPython's own `UnicodeEncodeError` when a character has no such byte.
    pub(crate) fn with_latin1<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<'py, R> {
        let mut length = 0;
        // SAFETY: the token proves that this thread is attached; the UTF-8 form is part of the object and lives as long as it. With as many
        // bytes as the str has characters all of it is ASCII, and that is the latin-1 form.
        unsafe {
            let start = ffi::PyUnicode_AsUTF8AndSize(self.as_ptr(), &raw mut length);
            if start.is_null() {
                // No str, or a lone surrogate; CPython raises for it below.
                Raised::new(self.py()).clear();
            } else if length == ffi::PyUnicode_GetLength(self.as_ptr()) {
                let length = usize::try_from(length).unwrap_or(0);
                return Ok(with(std::slice::from_raw_parts(start.cast(), length)));
            }
            let encoded =
                Object::from_owned(self.py(), ffi::PyUnicode_AsLatin1String(self.as_ptr()))?;
            Ok(with(encoded.as_bytes().unwrap_or_default()))
        }
    }
}
