//! Pools that drop Rust values.

use crate::bindings::{
    apr_palloc, apr_pool_cleanup_register, apr_pool_pre_cleanup_register, apr_pool_t, apr_status_t,
};
use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// An APR pool that lives at least as long as `'p`.
#[derive(Clone, Copy)]
pub(crate) struct Pool<'p> {
    raw: NonNull<apr_pool_t>,
    lives: PhantomData<&'p apr_pool_t>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// `raw` is a pool that is not destroyed during `'p`.
    pub(crate) const unsafe fn from_raw(raw: *mut apr_pool_t) -> Self {
        // SAFETY: the caller's promise.
        Self { raw: unsafe { NonNull::new_unchecked(raw) }, lives: PhantomData }
    }

    pub(crate) const fn as_ptr(self) -> *mut apr_pool_t {
        self.raw.as_ptr()
    }

    /// Keeps `value` until the pool is cleared or destroyed, and drops it then.
    pub(crate) fn adopt<T: 'static>(self, value: T) -> &'p mut T {
        unsafe extern "C" fn nothing(_: *mut c_void) -> apr_status_t {
            0
        }
        // SAFETY: the pool is live, and runs the cleanup once, when it is cleared or destroyed, which is not
        // before the end of `'p`. Before an exec nothing has to be done.
        unsafe {
            boxed(value, |value, release| {
                apr_pool_cleanup_register(self.as_ptr(), value, Some(release), Some(nothing));
            })
        }
    }

    /// As [`Pool::adopt`], but drops the value while the pools below this one are still there.
    pub(crate) fn adopt_above_others<T: 'static>(self, value: T) -> &'p mut T {
        // SAFETY: as in `adopt`; APR runs such a cleanup before it destroys the pools below, and never before an exec.
        unsafe {
            boxed(value, |value, release| {
                apr_pool_pre_cleanup_register(self.as_ptr(), value, Some(release));
            })
        }
    }

    /// A NUL-terminated copy.
    pub(crate) fn copy(self, text: &[u8]) -> *mut c_char {
        // SAFETY: the pool is live and gives `len + 1` bytes, which are all written.
        unsafe {
            let copy = apr_palloc(self.as_ptr(), text.len() + 1).cast::<u8>();
            copy.copy_from_nonoverlapping(text.as_ptr(), text.len());
            copy.add(text.len()).write(0);
            copy.cast()
        }
    }
}

/// What APR calls when a pool goes.
type Cleanup = unsafe extern "C" fn(*mut c_void) -> apr_status_t;

/// Boxes `value` and hands its address to `register`, with the function that drops it. The reference that is
/// returned and the address come from the same pointer, so that using the one does not end the other.
///
/// # Safety
/// `register` has the function called with that address once at most, and not before the end of `'p`.
unsafe fn boxed<'p, T: 'static>(
    value: T,
    register: impl FnOnce(*const c_void, Cleanup),
) -> &'p mut T {
    unsafe extern "C" fn release<T>(value: *mut c_void) -> apr_status_t {
        super::guard(0, || {
            // SAFETY: called once, with the address of the box below (the caller's promise).
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
            0
        })
    }
    let value = Box::into_raw(Box::new(value));
    register(value.cast_const().cast(), release::<T>);
    // SAFETY: the box lives until `release` runs, which is not before the end of `'p` (the caller's promise).
    unsafe { &mut *value }
}

#[cfg(test)]
pub(crate) fn with_pool<R>(body: impl FnOnce(Pool<'_>) -> R) -> R {
    use crate::bindings::{apr_initialize, apr_pool_create_ex, apr_pool_destroy};
    use std::sync::Once;
    static APR: Once = Once::new();
    // SAFETY: APR is initialised once; the pool lives for the call of `body`.
    unsafe {
        APR.call_once(|| assert_eq!(apr_initialize(), 0));
        let mut raw = std::ptr::null_mut();
        assert_eq!(
            apr_pool_create_ex(&raw mut raw, std::ptr::null_mut(), None, std::ptr::null_mut()),
            0
        );
        let result = body(Pool::from_raw(raw));
        apr_pool_destroy(raw);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Tells(u32, Arc<Mutex<Vec<u32>>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    /// Without APR, so that Miri can run it: the address that is registered stays valid while the reference
    /// is written through.
    #[test]
    fn a_boxed_value_is_written_and_then_dropped_by_its_address() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut registered = None;
        let value = Tells(1, Arc::clone(&told));
        // SAFETY: the function is called once, below, after the last use of the reference.
        let value =
            unsafe { boxed(value, |address, release| registered = Some((address, release))) };
        value.0 = 2;
        let (address, release) = registered.expect("it has been registered");
        // SAFETY: as registered, and once.
        assert_eq!(unsafe { release(address.cast_mut()) }, 0);
        assert_eq!(*told.lock().unwrap(), [2]);
    }

    #[test]
    fn a_pool_drops_what_it_adopted_last_first() {
        let told = Arc::new(Mutex::new(Vec::new()));
        with_pool(|pool| {
            pool.adopt(Tells(1, Arc::clone(&told)));
            let second = pool.adopt(Tells(2, Arc::clone(&told)));
            assert_eq!(second.0, 2);
            assert!(told.lock().unwrap().is_empty());
        });
        assert_eq!(*told.lock().unwrap(), [2, 1]);
    }

    #[test]
    fn a_copy_ends_with_nul() {
        with_pool(|pool| {
            // SAFETY: the copy lives as long as the pool.
            assert_eq!(unsafe { crate::apr::bytes(pool.copy(b"abc")) }, Some(&b"abc"[..]));
        });
    }
}
