//! Whether a port is free, who has it, and which one is taken instead.

use crate::failure::Failure;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;

/// How many ports above the wanted one are tried.
const TRIES: u16 = 100;

/// What a port search has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// A sentence about the wanted one, where it is not that.
    pub(crate) note: Option<String>,
}

/// The wanted port, or where it is taken and `may_move`, the next free one.
pub(crate) fn choose(host: Option<&str>, wanted: u16, may_move: bool) -> Result<Port, Failure> {
    match bind(host, wanted) {
        Ok(number) => return Ok(Port { number, note: None }),
        Err(why) if why.kind() == ErrorKind::AddrInUse => {}
        Err(why) if why.kind() == ErrorKind::PermissionDenied => {
            return Err(Failure::usage(format!(
                "port {wanted}: only root may listen on ports below 1024; choose one with --port, or start as root with \
                 --user and --group"
            )));
        }
        Err(why) => {
            let host = host.unwrap_or("*");
            return Err(Failure::usage(format!("{host}:{wanted} cannot be listened on: {why}")));
        }
    }
    let note = format!("port {wanted} is taken{}", holder(wanted));
    if !may_move {
        return Err(Failure::port_taken(format!("{note}; choose another with --port")));
    }
    let next = (wanted.saturating_add(1)..=wanted.saturating_add(TRIES))
        .find_map(|port| bind(host, port).ok());
    match next {
        Some(number) => Ok(Port { number, note: Some(note) }),
        None => Err(Failure::port_taken(format!("{note}, and so are the {TRIES} after it"))),
    }
}

/// Listens for a moment; returns the number, which differs for 0.
fn bind(host: Option<&str>, port: u16) -> std::io::Result<u16> {
    let address = host.and_then(|host| host.parse::<IpAddr>().ok());
    // std sets SO_REUSEADDR, as Apache does: connections of a server before do not count.
    let listener = match (address, host) {
        (Some(address), _) => TcpListener::bind((address, port)),
        (None, Some(host)) if host != "*" => TcpListener::bind((host, port)),
        (None, _) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
    }?;
    Ok(listener.local_addr()?.port())
}

/// " by process 7 (python3 manage.py)", as far as this user may see it.
fn holder(port: u16) -> String {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    let of_process = |path: &Path| {
        let entries = std::fs::read_dir(path.join("fd")).ok()?;
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let names: Vec<String> =
            links.into_iter().map(|link| link.to_string_lossy().into_owned()).collect();
        let has = |inode: &String| names.contains(&format!("socket:[{inode}]"));
        inodes.iter().any(has).then_some(())
    };
    let Ok(processes) = std::fs::read_dir("/proc") else { return String::new() };
    let mut numbers: Vec<u32> =
        processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The parent of a server has a lower number than its children.
    numbers.sort_unstable();
    let found =
        numbers.into_iter().find(|pid| of_process(Path::new(&format!("/proc/{pid}"))).is_some());
    found.map_or_else(String::new, |pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<String> = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let mut line = words.join(" ");
        if let Some((end, _)) = line.char_indices().nth(60) {
            line.truncate(end);
        }
        format!(" by process {pid} ({line})")
    })
}

/// Inodes of the sockets that listen on the port, from a table of /proc/net.
fn listening(table: &str, port: u16) -> Vec<String> {
    let wanted = format!(":{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 0A: listens.
        let matches = fields.get(1)?.ends_with(&wanted) && *fields.get(3)? == "0A";
        matches.then(|| fields.get(9).map(|&inode| inode.to_owned()))?
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn taken_port_is_told_with_its_holder_and_the_next_one_is_taken() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let host = Some("127.0.0.1");
        let refused = choose(host, port, false).unwrap_err();
        assert_eq!(refused.exit_status(), 3);
        let me = format!("by process {} (", std::process::id());
        assert!(refused.to_string().contains(&me), "{refused}");
        let moved = choose(host, port, true).unwrap();
        assert!(moved.number > port && moved.note.unwrap().contains("is taken"));
        drop(taken);
        // A process that another test has forked may have the socket for a moment.
        let end = Instant::now() + Duration::from_secs(20);
        let free = loop {
            match choose(host, port, false) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                found => break found.unwrap(),
            }
        };
        assert_eq!(free, Port { number: port, note: None });
    }

    #[test]
    fn listening_sockets_are_read_from_the_table() {
        let table = "  sl  local_address rem_address st tx rx tr tm retrnsmt uid timeout inode\n\
            0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 123 1\n\
            1: 0100007F:1F40 00000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 124 1\n";
        assert_eq!(listening(table, 8000), ["123"]);
        assert!(listening(table, 8001).is_empty());
    }
}
