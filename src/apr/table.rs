//! `apr_table_t`: names in any case, values in the order they came.

use super::{Pool, bytes};
use crate::bindings::{
    apr_table_addn, apr_table_elts, apr_table_entry_t, apr_table_get, apr_table_setn, apr_table_t,
    apr_table_unset,
};
use std::ffi::CStr;
use std::marker::PhantomData;

/// A table whose pool lives at least as long as `'p`.
#[derive(Clone, Copy)]
pub(crate) struct Table<'p> {
    raw: *mut apr_table_t,
    lives: PhantomData<&'p apr_table_t>,
}

impl<'p> Table<'p> {
    /// # Safety
    /// `raw` is a table whose pool is not destroyed during `'p`, used by this thread alone.
    pub(crate) const unsafe fn from_raw(raw: *mut apr_table_t) -> Self {
        Self { raw, lives: PhantomData }
    }

    /// The first value of this name.
    pub(crate) fn get(self, name: &CStr) -> Option<&'p [u8]> {
        // SAFETY: the table is live; its values are strings of its pool.
        unsafe { bytes(apr_table_get(self.raw, name.as_ptr())) }
    }

    /// Every pair, in order. `with` may change the table: pairs that are added meanwhile are not visited, and
    /// those that are removed are not either, unless they move to where another one stood.
    pub(crate) fn each(self, mut with: impl FnMut(&'p [u8], &'p [u8])) {
        for index in 0..self.len() {
            // `with` may have made it shorter.
            if index >= self.len() {
                break;
            }
            // SAFETY: the table is live and its array holds more than `index` entries, as was just asked. Both
            // pointers are copied before `with` may move the array; the strings are of the table's pool.
            let (name, value) = unsafe {
                let entry = (*apr_table_elts(self.raw)).elts.cast::<apr_table_entry_t>().add(index);
                (bytes((*entry).key), bytes((*entry).val))
            };
            if let (Some(name), Some(value)) = (name, value) {
                with(name, value);
            }
        }
    }

    /// How many pairs there are.
    fn len(self) -> usize {
        // SAFETY: the table is live, and its array with it.
        usize::try_from(unsafe { (*apr_table_elts(self.raw)).nelts }).unwrap_or(0)
    }

    /// Replaces the values of `name` by a copy of this one.
    pub(crate) fn set(self, pool: Pool<'p>, name: &'static CStr, value: &[u8]) {
        // SAFETY: the table is live; the copy lives as long as its pool, the name for ever.
        unsafe { apr_table_setn(self.raw, name.as_ptr(), pool.copy(value)) };
    }

    /// Replaces the values of `name` by this very one.
    ///
    /// # Safety
    /// It lives as long as the table's pool.
    pub(crate) unsafe fn set_lent(self, name: &'static CStr, value: &CStr) {
        // SAFETY: the table is live; the caller's promise.
        unsafe { apr_table_setn(self.raw, name.as_ptr(), value.as_ptr()) };
    }

    /// Removes all values of this name.
    pub(crate) fn unset(self, name: &CStr) {
        // SAFETY: the table's pool is not destroyed during `'p` (`from_raw`).
        unsafe { apr_table_unset(self.raw, name.as_ptr()) };
    }

    /// Adds a pair, the value as a copy.
    pub(crate) fn add(self, pool: Pool<'p>, name: &'static CStr, value: &[u8]) {
        // SAFETY: the table is live (`from_raw`); the copy lives as long as its pool, the name is static.
        unsafe { apr_table_addn(self.raw, name.as_ptr(), pool.copy(value)) };
    }

    /// Adds a pair.
    ///
    /// # Safety
    /// Both are NUL-terminated and live as long as the table's pool.
    pub(crate) unsafe fn add_lent(self, name: *const u8, value: *const u8) {
        // SAFETY: the caller's promise.
        unsafe { apr_table_addn(self.raw, name.cast(), value.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::with_pool;
    use super::*;
    use crate::bindings::apr_table_make;

    #[test]
    fn a_table_may_be_changed_while_its_pairs_are_visited() {
        with_pool(|pool| {
            // SAFETY: the pool is live.
            let table = unsafe { Table::from_raw(apr_table_make(pool.as_ptr(), 2)) };
            for name in [c"a", c"b", c"c"] {
                table.add(pool, name, name.to_bytes());
            }
            let mut visited = Vec::new();
            table.each(|name, _| {
                visited.push(name.to_vec());
                // More than the array has room for: it moves.
                (0..100).for_each(|_| table.add(pool, c"d", b"d"));
            });
            assert_eq!(visited, [b"a", b"b", b"c"]);
            assert_eq!(table.len(), 303);
            visited.clear();
            table.each(|name, _| {
                visited.push(name.to_vec());
                table.unset(c"d");
                table.unset(c"c");
            });
            assert_eq!(visited, [b"a", b"b"]);
        });
    }

    #[test]
    fn names_have_no_case_and_pairs_keep_their_order() {
        with_pool(|pool| {
            // SAFETY: the pool is live.
            let table = unsafe { Table::from_raw(apr_table_make(pool.as_ptr(), 2)) };
            table.set(pool, c"B", b"1");
            table.set(pool, c"a", b"2");
            table.set(pool, c"b", b"3");
            assert_eq!(table.get(c"A"), Some(&b"2"[..]));
            let mut pairs = Vec::new();
            table.each(|name, value| pairs.push((name.to_vec(), value.to_vec())));
            assert_eq!(pairs, [(b"B".to_vec(), b"3".to_vec()), (b"a".to_vec(), b"2".to_vec())]);
        });
    }
}
