//! Look-ups in the system's databases of users and groups.
//!
//! They are done in a process of their own: the libraries that do them stay in the memory of the process that asks,
//! which would be every group's manager for as long as Apache runs.
#![forbid(unsafe_code)]

use group_config::byte_string;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

/// A user.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(with = "byte_string")]
    pub(crate) name: OsString,
    #[serde(with = "byte_string")]
    pub(crate) home: OsString,
    /// The primary group.
    pub(crate) gid: u32,
    /// Every group of a process of this user whose primary group is the one asked for.
    pub(crate) groups: Vec<u32>,
}

impl Account {
    /// The user of this number, and the groups it has beside `gid`, or beside its own primary group. `None`
    /// where no database has it.
    pub(crate) fn of(uid: u32, gid: Option<u32>) -> Option<Self> {
        // Where no process can be forked for the look-up, this one does it.
        lookup_in_child(|| Self::lookup_in_process(uid, gid))
            .unwrap_or_else(|_| Self::lookup_in_process(uid, gid))
    }

    fn lookup_in_process(uid: u32, gid: Option<u32>) -> Option<Self> {
        let user = sys::user_by_id(uid)?;
        let text = |text: &[u8]| OsStr::from_bytes(text).to_owned();
        Some(Self {
            name: text(user.name.to_bytes()),
            home: text(user.home.to_bytes()),
            gid: user.gid,
            groups: sys::groups_of(&user.name, gid.unwrap_or(user.gid)),
        })
    }
}

/// The result of `lookup` in a forked process.
fn lookup_in_child(lookup: impl FnOnce() -> Option<Account>) -> io::Result<Option<Account>> {
    let (mut answer, mut question) = io::pipe()?;
    let Some(copy) = sys::fork()? else {
        let told =
            serde_json::to_vec(&lookup()).is_ok_and(|text| question.write_all(&text).is_ok());
        sys::exit_now(i32::from(!told));
    };
    drop(question);
    let mut text = Vec::new();
    let read = answer.read_to_end(&mut text);
    sys::wait_for_exit(copy);
    read?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_home_and_groups_and_an_unknown_uid_has_none() {
        let root = Account::lookup_in_process(0, None).unwrap();
        assert_eq!((root.name.as_bytes(), root.gid), (&b"root"[..], 0));
        assert!(root.groups.contains(&0));
        assert!(Account::lookup_in_process(0, Some(54_321)).unwrap().groups.contains(&54_321));
        assert_eq!(Account::lookup_in_process(4_123_456_789, None), None);
        let told = serde_json::to_vec(&Some(&root)).unwrap();
        assert_eq!(serde_json::from_slice::<Option<Account>>(&told).unwrap(), Some(root));
    }
}
