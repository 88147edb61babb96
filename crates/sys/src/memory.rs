//! How the C library keeps memory that has been freed.
#![allow(unsafe_code, reason = "mallopt")]

/// From now on threads share so many arenas of malloc(3), unless the environment says how many. Each arena keeps what has
/// been freed in it, and by default there are eight for each processor.
pub fn limit_arenas(most: i32) {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    // SAFETY: takes numbers, under a lock of malloc's own; arenas that there are already stay.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, most);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = most;
}
