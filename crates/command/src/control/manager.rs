//! Whether a group has a manager, where its socket is silent. Apache's parent has made the socket and keeps it, so that
//! clients connect to it also while no manager is there to accept them. It must never know what is asked.

use group_config::AdminSocketName;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What the programs of managers are called.
const PROGRAM: &[u8] = b"wsgi-daemon";
/// Of the flags in /proc/net/unix: the socket listens (`__SO_ACCEPTCON`).
const LISTENS: u32 = 1 << 16;

/// Whether no manager has the socket that this connection leads to: Apache's parent has it open, and no process of another
/// program. A manager is executed with it. `false` also where that cannot be told, because this user may not look into
/// a process, or because it is a process of another container.
pub(super) fn is_missing(stream: &UnixStream) -> bool {
    is_without_manager(stream).unwrap_or(false)
}

fn is_without_manager(stream: &UnixStream) -> Option<bool> {
    let address = stream.peer_addr().ok()?;
    let bound = address.as_pathname()?;
    let server = AdminSocketName::parse(bound.file_name()?.as_bytes())?.server;
    let table = fs::read("/proc/net/unix").ok()?;
    let sockets = listening(&String::from_utf8_lossy(&table), bound);
    let apache = program(server)?;
    if apache.file_name()?.as_bytes().starts_with(PROGRAM) || !has_one(server, &sockets)? {
        return None;
    }
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if has_one(pid, &sockets)? && program(pid).is_some_and(|other| other != apache) {
            return Some(false);
        }
    }
    Some(true)
}

/// What /proc calls the sockets that listen and were bound to this path, by its text.
fn listening(table: &str, bound: &Path) -> Vec<PathBuf> {
    let socket = |line: &str| {
        let mut fields = line.splitn(7, char::is_whitespace);
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        let (inode, path) = fields.nth(2)?.trim_start().split_once(' ')?;
        let listens = flags & LISTENS != 0 && path.as_bytes() == bound.as_os_str().as_bytes();
        listens.then(|| format!("socket:[{inode}]").into())
    };
    table.lines().filter_map(socket).collect()
}

/// Whether a process has one of the sockets open; one that has ended has none. `None` where that cannot be seen.
fn has_one(pid: u32, sockets: &[PathBuf]) -> Option<bool> {
    let descriptors = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(descriptors) => descriptors,
        Err(why) if why.kind() == ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    // A descriptor may be closed meanwhile.
    let mut files = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Some(files.any(|file| sockets.contains(&file)))
}

/// The file that a process runs; `None` where it has ended.
fn program(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_of_a_path_are_those_that_listen_there() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01   801 /run/a b\n\
                     0000000000000000: 00000003 00000000 00000000 0001 03   802 /run/a b\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 80300 /run/a\n\
                     0000000000000000: 00000003 00000000 00000000 0001 03   804\n";
        assert_eq!(listening(table, Path::new("/run/a b")), [PathBuf::from("socket:[801]")]);
        assert_eq!(listening(table, Path::new("/run/a")), [PathBuf::from("socket:[80300]")]);
        assert!(listening(table, Path::new("/run")).is_empty());
    }

    #[test]
    fn socket_without_another_program_has_no_manager_and_one_with_it_has() {
        let folder = std::env::temp_dir().join(format!("control-manager-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join(format!("wsgi.{}.0.site.admin", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        let alone = is_without_manager(&stream);
        let inherited = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let mut other = std::process::Command::new("sleep");
        let mut other = other.arg("60").stdin(inherited).spawn().unwrap();
        // It is this program until it is executed.
        let is_executed = || program(other.id()) != program(std::process::id());
        while !is_executed() {
            std::thread::yield_now();
        }
        let accompanied = is_without_manager(&stream);
        other.kill().unwrap();
        other.wait().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        // Only root sees all processes.
        if sys::effective_uid() == 0 {
            assert_eq!((alone, accompanied), (Some(true), Some(false)));
        }
    }
}
