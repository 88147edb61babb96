//! Extended regular expressions, by the engine Apache's own directives use.

use crate::bindings::{
    AP_REG_EXTENDED, ap_regcomp, ap_regex_t, ap_regexec, ap_regfree, ap_regmatch_t,
};
use std::ffi::{CString, c_int};
use std::fmt;
use std::ops::Range;

/// A compiled expression.
pub(crate) struct Regex {
    raw: ap_regex_t,
    source: CString,
}

// SAFETY: matching reads the compiled expression only (PCRE's promise).
unsafe impl Send for Regex {}
// SAFETY: several threads may match at once: each gives its own spans.
unsafe impl Sync for Regex {}

/// How many groups can be referred to: `$0` to `$9`.
const GROUPS: usize = 10;

impl Regex {
    /// `None` when the pattern is no expression.
    pub(crate) fn new(pattern: &[u8]) -> Option<Self> {
        let source = CString::new(pattern).ok()?;
        // SAFETY: plain data, filled by ap_regcomp before it is used.
        let mut raw = unsafe { std::mem::zeroed::<ap_regex_t>() };
        // SAFETY: the expression and the NUL-terminated pattern outlive the call.
        let status = unsafe { ap_regcomp(&raw mut raw, source.as_ptr(), AP_REG_EXTENDED as c_int) };
        (status == 0).then_some(Self { raw, source })
    }

    /// The spans of the match and of its groups, the whole match first.
    pub(crate) fn find(&self, subject: &[u8]) -> Option<Vec<Option<Range<usize>>>> {
        let subject = CString::new(subject).ok()?;
        let mut spans = [ap_regmatch_t { rm_so: -1, rm_eo: -1 }; GROUPS];
        // SAFETY: `subject` is NUL-terminated and `spans` has GROUPS elements.
        let status = unsafe {
            ap_regexec(&raw const self.raw, subject.as_ptr(), GROUPS, spans.as_mut_ptr(), 0)
        };
        let span = |span: &ap_regmatch_t| {
            Some(usize::try_from(span.rm_so).ok()?..usize::try_from(span.rm_eo).ok()?)
        };
        (status == 0).then(|| spans.iter().map(span).collect())
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled by `new`, freed once.
        unsafe { ap_regfree(&raw mut self.raw) };
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.source)
    }
}
