//! Whom the system's databases of users and groups know.
//!
//! They are asked in a process of their own: the libraries that answer stay in the memory of whoever asks,
//! in every group's manager for as long as Apache runs.
#![forbid(unsafe_code)]

use crate::octets;
use crate::posix;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

/// A user.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(with = "octets")]
    pub(crate) name: OsString,
    #[serde(with = "octets")]
    pub(crate) home: OsString,
    /// The primary group.
    pub(crate) gid: u32,
    /// Every group of a process of this user whose primary group is the one asked for.
    pub(crate) groups: Vec<u32>,
}

impl Account {
    /// The user of this number, and the groups it has beside `gid`, or beside its own primary group. `None`
    /// where nobody knows it.
    pub(crate) fn of(uid: u32, gid: Option<u32>) -> Option<Self> {
        // Where no process can be had for it this one has to do.
        elsewhere(|| Self::here(uid, gid)).unwrap_or_else(|_| Self::here(uid, gid))
    }

    fn here(uid: u32, gid: Option<u32>) -> Option<Self> {
        let user = posix::user_of(uid)?;
        let text = |text: &[u8]| OsStr::from_bytes(text).to_owned();
        Some(Self {
            name: text(user.name.to_bytes()),
            home: text(user.home.to_bytes()),
            gid: user.gid,
            groups: posix::groups_of(&user.name, gid.unwrap_or(user.gid)),
        })
    }
}

/// What `look` sees in a copy of this process.
fn elsewhere(look: impl FnOnce() -> Option<Account>) -> io::Result<Option<Account>> {
    let (mut answer, mut question) = io::pipe()?;
    let Some(copy) = posix::fork()? else {
        let told = serde_json::to_vec(&look()).is_ok_and(|text| question.write_all(&text).is_ok());
        posix::exit_now(i32::from(!told));
    };
    drop(question);
    let mut text = Vec::new();
    let read = answer.read_to_end(&mut text);
    posix::wait_for(copy);
    read?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_with_home_and_groups_and_a_stranger_is_not() {
        let root = Account::here(0, None).unwrap();
        assert_eq!((root.name.as_bytes(), root.gid), (&b"root"[..], 0));
        assert!(root.groups.contains(&0));
        assert!(Account::here(0, Some(54_321)).unwrap().groups.contains(&54_321));
        assert_eq!(Account::here(4_123_456_789, None), None);
        let told = serde_json::to_vec(&Some(&root)).unwrap();
        assert_eq!(serde_json::from_slice::<Option<Account>>(&told).unwrap(), Some(root));
    }
}
