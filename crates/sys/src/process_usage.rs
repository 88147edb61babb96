//! Memory and processor time of another process, from /proc. It must never know what the process does.
#![forbid(unsafe_code)]

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Bytes of memory that it has.
    pub resident: u64,
    /// Bytes of that, without files.
    pub private: u64,
    /// Processor time in milliseconds.
    pub cpu: u64,
}

/// Of `times` in /proc: `USER_HZ`, which is the same on every machine that Linux runs on today.
const TICKS: u64 = 100;

impl ProcessUsage {
    /// That of process `pid`; `None` where there is none, or it does not belong to `uid`.
    pub fn of(pid: u32, uid: u32) -> Option<Self> {
        Self::read(pid, |folder| folder.uid() == uid)
    }

    /// That of a child of this process; `None` where it has none of this number.
    pub fn of_child(pid: u32) -> Option<Self> {
        Self::read(pid, |_| true)
    }

    fn read(pid: u32, is_it: impl FnOnce(&Metadata) -> bool) -> Option<Self> {
        let folder = format!("/proc/{pid}");
        if !is_it(&fs::metadata(&folder).ok()?) {
            return None;
        }
        let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
        };
        let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
        Some(Self {
            resident: kilobytes("VmRSS").unwrap_or(0).saturating_mul(1024),
            private: kilobytes("RssAnon").unwrap_or(0).saturating_mul(1024),
            cpu: cpu_ticks(&stat).saturating_mul(1000 / TICKS),
        })
    }
}

/// The sum of fields 14 and 15; the name of the program, field 2, may hold anything.
fn cpu_ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_another_user_has_none_of_it() {
        let (pid, uid) = (std::process::id(), crate::effective_uid());
        let usage = ProcessUsage::of(pid, uid).unwrap();
        assert!(usage.resident >= usage.private && usage.private > 0);
        assert_eq!(ProcessUsage::of(pid, uid + 1), None);
        assert_eq!(ProcessUsage::of(u32::MAX, uid), None);
        assert!(
            ProcessUsage::of_child(pid).is_some() && ProcessUsage::of_child(u32::MAX).is_none()
        );
    }

    #[test]
    fn name_of_a_program_does_not_move_the_fields() {
        let stat = "7 (a) 9 9 (b) R 1 2 3 4 5 6 7 8 9 10 30 12 13";
        assert_eq!((cpu_ticks(stat), cpu_ticks(""), cpu_ticks("7 (x) R 1")), (42, 0, 0));
    }
}
