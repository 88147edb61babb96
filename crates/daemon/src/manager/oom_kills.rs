//! Whether the kernel has killed a process of this control group for want of memory: the counter `oom_kill` of the
//! memory controller. The kernel does not say which process that was, so a rise is no more than evidence; it is asked
//! about a worker that SIGKILL has ended and that its manager has not killed. Nothing is known of workers here.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// The counter when it was last read.
pub(super) struct OomKills {
    /// Where /proc and the control groups are.
    root: PathBuf,
    /// The file that it was read from, and its value; `None` where there is no such file.
    last: Option<(PathBuf, u64)>,
}

impl OomKills {
    pub(super) fn new() -> Self {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        let mut kills = Self { root: root.to_owned(), last: None };
        kills.has_risen();
        kills
    }

    /// Whether the counter has risen since it was last read. One that another control group has, because this process
    /// was moved to it, has not: what happened there before is unknown.
    pub(super) fn has_risen(&mut self) -> bool {
        let now = self.read();
        let risen = match (&self.last, &now) {
            (Some((before, old)), Some((file, new))) => before == file && new > old,
            _ => false,
        };
        self.last = now;
        risen
    }

    /// The file of the control group that this process is in, and its counter. Version 2 has one hierarchy, version 1 one
    /// for each controller.
    fn read(&self) -> Option<(PathBuf, u64)> {
        let groups = fs::read_to_string(self.root.join("proc/self/cgroup")).ok()?;
        let mounted = self.root.join("sys/fs/cgroup");
        let mut files = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                return Some(mounted.join(path).join("memory.events"));
            }
            let is_memory = controllers.split(',').any(|name| name == "memory");
            is_memory.then(|| mounted.join("memory").join(path).join("memory.oom_control"))
        });
        files.find_map(|file| {
            let text = fs::read_to_string(&file).ok()?;
            let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
            Some((file, value.trim().parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A folder that is removed again.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("oom-kills-{}-{number}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(root: &Path, name: &str, text: &str) {
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn counter_of_either_version_is_seen_to_rise_once() {
        let of_group = [
            ("0::/system.slice/apache2.service\n", "system.slice/apache2.service/memory.events"),
            ("9:cpu:/\n4:cpuset,memory:/web\n0::/web\n", "memory/web/memory.oom_control"),
        ];
        for (groups, file) in of_group {
            let folder = Folder::new();
            let root = &folder.0;
            let file = format!("sys/fs/cgroup/{file}");
            write(root, "proc/self/cgroup", groups);
            write(root, &file, "oom 7\noom_kill_disable 0\noom_kill 3\noom_group_kill 9\n");
            let mut kills = OomKills::below(root);
            assert!(!kills.has_risen());
            write(root, &file, "oom 8\noom_kill 4\n");
            assert!(kills.has_risen());
            assert!(!kills.has_risen());
        }
    }

    #[test]
    fn what_another_control_group_has_counted_says_nothing() {
        let folder = Folder::new();
        let root = &folder.0;
        let mut kills = OomKills::below(root);
        assert!(!kills.has_risen());
        for (name, count) in [("one", 1), ("two", 5)] {
            write(root, "proc/self/cgroup", &format!("0::/{name}\n"));
            write(
                root,
                &format!("sys/fs/cgroup/{name}/memory.events"),
                &format!("oom_kill {count}\n"),
            );
            assert!(!kills.has_risen());
        }
        write(root, "sys/fs/cgroup/two/memory.events", "oom_kill 6\n");
        assert!(kills.has_risen());
    }
}
