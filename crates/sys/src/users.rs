//! Users and groups: what the system's databases know of them, and which ones this process has.
#![allow(unsafe_code, reason = "the databases of users and groups")]

use crate::descriptors::check;
use rustix::process;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// The effective user of this process.
pub fn effective_uid() -> u32 {
    process::geteuid().as_raw()
}

/// The effective group of this process.
pub fn effective_gid() -> u32 {
    process::getegid().as_raw()
}

/// Whether this process may become any user.
pub fn is_root() -> bool {
    process::geteuid().is_root()
}

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name to log in with.
    pub name: CString,
    /// The user's number.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The home directory.
    pub home: CString,
}

/// The room that the strings of one record have at first, in bytes, and at most: a group may have many members.
const FIRST_ROOM: usize = 1024;
const MOST_ROOM: usize = 16 << 20;

/// Asks a database for one record. `ask` is one of the `get…_r` functions with what is looked for; `read` takes
/// what is needed from the record while its strings are there. A record whose strings have no room in the
/// buffer (`ERANGE`) is asked for again with a larger one.
fn look_up<Record, T>(
    room: usize,
    ask: impl Fn(*mut Record, *mut libc::c_char, usize, *mut *mut Record) -> libc::c_int,
    read: impl Fn(&Record) -> T,
) -> Option<T> {
    let mut buffer = vec![0_u8; room];
    loop {
        let mut record = MaybeUninit::<Record>::uninit();
        let mut found: *mut Record = ptr::null_mut();
        let result =
            ask(record.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut found);
        match result {
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < MOST_ROOM => buffer.resize(buffer.len() * 4, 0),
            // SAFETY: `found` is null, or points to `record`, which has then been filled; the strings that it
            // points to stand in `buffer`. Both live until `read` has returned.
            _ => return unsafe { found.as_ref() }.map(read),
        }
    }
}

fn user(record: &libc::passwd) -> User {
    // SAFETY: a record that was found has both strings, which end with a NUL and are there while it is read.
    let (name, home) = unsafe { (CStr::from_ptr(record.pw_name), CStr::from_ptr(record.pw_dir)) };
    User { name: name.to_owned(), uid: record.pw_uid, gid: record.pw_gid, home: home.to_owned() }
}

/// The user of this number.
pub fn user_by_id(uid: u32) -> Option<User> {
    user_by_id_in(uid, FIRST_ROOM)
}

fn user_by_id_in(uid: u32, room: usize) -> Option<User> {
    let ask = |record, buffer, length, found| {
        // SAFETY: the pointers are those of `look_up`, whose buffer has this length.
        unsafe { libc::getpwuid_r(uid, record, buffer, length, found) }
    };
    look_up(room, ask, user)
}

/// The user of this name.
pub fn user_by_name(name: &CStr) -> Option<User> {
    let ask = |record, buffer, length, found| {
        // SAFETY: the pointers are those of `look_up`, whose buffer has this length; `name` ends with a NUL.
        unsafe { libc::getpwnam_r(name.as_ptr(), record, buffer, length, found) }
    };
    look_up(FIRST_ROOM, ask, user)
}

/// The number of the group of this name.
pub fn group_id_by_name(name: &CStr) -> Option<u32> {
    group_id_by_name_in(name, FIRST_ROOM)
}

fn group_id_by_name_in(name: &CStr, room: usize) -> Option<u32> {
    let ask = |record, buffer, length, found| {
        // SAFETY: the pointers are those of `look_up`, whose buffer has this length; `name` ends with a NUL.
        unsafe { libc::getgrnam_r(name.as_ptr(), record, buffer, length, found) }
    };
    look_up(room, ask, |record: &libc::group| record.gr_gid)
}

/// The name of a user, or `uid N` for one without a name.
pub fn user_name(uid: u32) -> String {
    let name = user_by_id(uid).map(|user| user.name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// Every group of a user, `primary` among them.
pub fn groups_of(user: &CStr, primary: u32) -> Vec<u32> {
    /// Linux: NGROUPS_MAX.
    const MOST: usize = 65_536;
    let mut groups = vec![0; MOST];
    let mut count = groups.len() as libc::c_int;
    // SAFETY: `count` says how many fit into `groups`, and comes back as how many there are; `user` ends with a
    // NUL.
    unsafe { libc::getgrouplist(user.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups
}

/// Sets the primary group of this process, of all its threads.
pub fn set_gid(gid: u32) -> io::Result<()> {
    // SAFETY: takes a number. The C library's function, because the system call is of one thread only.
    check(unsafe { libc::setgid(gid) }).map(drop)
}

/// Sets the supplementary groups of this process, of all its threads.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length are those of one slice.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }).map(drop)
}

/// Makes this process, with all its threads, one of that user, with no way back.
pub fn set_uid(uid: u32) -> io::Result<()> {
    // SAFETY: takes a number.
    check(unsafe { libc::setuid(uid) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_that_has_no_room_at_first_is_found_with_more() {
        let root = user_by_id_in(0, 1).unwrap();
        assert_eq!(root, user_by_id(0).unwrap());
        assert_eq!((root.name.to_bytes(), root.uid, root.gid), (&b"root"[..], 0, 0));
        assert_eq!(user_by_name(c"root"), Some(root));
        assert_eq!(group_id_by_name_in(c"root", 1), Some(0));
        assert_eq!(user_by_id_in(4_123_456_789, 1), None);
        assert_eq!(group_id_by_name(c"no such group"), None);
        assert_eq!(user_name(4_123_456_789), "uid 4123456789");
    }

    #[test]
    fn record_that_never_fits_is_given_up() {
        let tries = std::cell::Cell::new(0);
        let never = |_: *mut libc::passwd, _, _, _| {
            tries.set(tries.get() + 1);
            libc::ERANGE
        };
        assert_eq!(look_up(1, never, user), None);
        assert!((10..20).contains(&tries.get()));
    }

    #[test]
    fn groups_of_a_user_begin_with_the_primary_one() {
        assert_eq!(groups_of(c"root", 54_321).first(), Some(&54_321));
    }
}
