//! Resource limits of this process.
#![forbid(unsafe_code)]

use rustix::process::{self, Rlimit};
use std::io;
use std::sync::OnceLock;

/// What a limit is of.
#[derive(Clone, Copy, Debug)]
pub enum Resource {
    /// Seconds of CPU time (`RLIMIT_CPU`).
    Cpu,
    /// Bytes of data (`RLIMIT_DATA`).
    Data,
    /// Bytes of address space (`RLIMIT_AS`).
    AddressSpace,
}

/// Sets a resource limit of this process.
pub fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let resource = match resource {
        Resource::Cpu => process::Resource::Cpu,
        Resource::Data => process::Resource::Data,
        Resource::AddressSpace => process::Resource::As,
    };
    let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
    Ok(process::setrlimit(resource, limit)?)
}

/// The stack that a thread has by the system's limits (`RLIMIT_STACK`), in bytes.
pub fn stack_size() -> usize {
    // What Linux has by default, and C programs take for unlimited.
    const DEFAULT: usize = 8 << 20;
    let limit = process::getrlimit(process::Resource::Stack).current;
    limit.map_or(DEFAULT, |limit| usize::try_from(limit).unwrap_or(DEFAULT))
}

/// How many files this process may have open (`ulimit -n`).
pub fn descriptor_limit() -> u64 {
    process::getrlimit(process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The limit of open files (`ulimit -n`) of a process that has changed it: what it was before.
static ORIGINAL_DESCRIPTOR_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit of open files so that this process can open `more` of them, as far as the hard limit lets
/// it. Its children have the original limit, if they call [`restore_descriptor_limit`] or come from
/// [`spawn`](crate::spawn).
pub fn raise_descriptor_limit(more: usize) {
    let before = process::getrlimit(process::Resource::Nofile);
    let Some(current) = before.current else { return };
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let wanted = u64::try_from(open + more).unwrap_or(u64::MAX);
    let wanted = before.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    if current < wanted {
        ORIGINAL_DESCRIPTOR_LIMIT.get_or_init(|| before);
        let limit = Rlimit { current: Some(wanted), ..before };
        // Where it fails the limit stays, and what is opened may fail.
        let _ = process::setrlimit(process::Resource::Nofile, limit);
    }
}

/// Gives a child of a process that has [raised it](raise_descriptor_limit) the original limit of open files.
/// Only makes a system call.
pub fn restore_descriptor_limit() {
    if let Some(before) = ORIGINAL_DESCRIPTOR_LIMIT.get() {
        // A lower limit is always allowed.
        let _ = process::setrlimit(process::Resource::Nofile, *before);
    }
}
/// Whether a call failed because this process, or the system, has too many open files.
pub fn is_out_of_descriptors(why: &std::io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
