//! Ids of requests in the logs.

use crate::apr::Pool;
use crate::bindings::{ap_hook_get_generate_log_id, ap_run_generate_log_id, request_rec};
use std::ffi::c_char;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The digits of base64url (RFC 4648), which stand in URLs and file names as they are.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Digits of an id: six bits each, 64 in all.
const LENGTH: usize = 11;

/// An id for a request that has none. Where no module wants to make them (`ap_hook_generate_log_id`), it
/// is made here: httpd's own way asks the kernel for the process's number each time.
///
/// # Safety
/// `request` is live.
pub(super) unsafe fn generate(request: *mut request_rec, pool: Pool<'_>) -> *const c_char {
    static OURS: OnceLock<bool> = OnceLock::new();
    // SAFETY: the list of hooks is complete before requests are served, and never changes then.
    let ours = *OURS.get_or_init(|| unsafe {
        ap_hook_get_generate_log_id().as_ref().is_none_or(|hooks| hooks.nelts <= 1)
    });
    if ours {
        return pool.copy(&digits(next())).cast_const();
    }
    let mut id = std::ptr::null();
    // SAFETY: the caller's promise; the hook writes a string of the pool.
    unsafe { ap_run_generate_log_id((*request).connection, request, &raw mut id) };
    id
}

/// A number that this process has not used before, and no other is likely to.
fn next() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let first = *FIRST.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        mixed(u64::from(std::process::id()) << 40 ^ now.as_nanos() as u64)
    });
    mixed(first.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Another number for each number (the finaliser of SplitMix64): neighbours do not look alike.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn digits(number: u64) -> [u8; LENGTH] {
    std::array::from_fn(|place| DIGITS[(number >> (6 * place)) as usize % DIGITS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_different() {
        let ids: HashSet<_> = (0..10_000).map(|_| digits(next())).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().flatten().all(|digit| DIGITS.contains(digit)));
    }

    #[test]
    fn every_bit_of_a_number_is_in_its_id() {
        let ids: HashSet<_> = (0..64).map(|bit| digits(1 << bit)).collect();
        assert_eq!(ids.len(), 64);
    }
}
