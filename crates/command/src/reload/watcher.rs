//! Watches the files of an application, by the means that work there.

use super::inotify::Inotify;
use super::polling::Polling;
use super::{Change, Patterns};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks at all files.
const INTERVAL: Duration = Duration::from_millis(400);
/// What belongs to one save comes within this time.
const SETTLE: Duration = Duration::from_millis(30);
/// File systems on which another machine, or the host of a container, writes unseen: 9p, FUSE, NFS, CIFS, vboxsf.
const UNSEEN: [u64; 6] = [0x0102_1997, 0x6573_5546, 0x6969, 0xFF53_4D42, 0xFE53_4D42, 0x786F_4256];

enum Means {
    Kernel(Inotify),
    Looking(Polling, Instant),
}

/// A watcher; one change is told once.
pub(crate) struct Watcher {
    patterns: Patterns,
    means: Means,
    /// Why all files are looked at.
    note: Option<String>,
    waiting: Vec<(Change, PathBuf)>,
    since: Instant,
}

impl Watcher {
    pub(crate) fn new(roots: &[PathBuf], patterns: Patterns) -> Self {
        let unseen = roots.iter().find(|root| is_unseen(root));
        let (means, note) = match unseen {
            Some(root) => (
                None,
                Some(format!("{} is on a file system that tells of no changes", root.display())),
            ),
            None => match Inotify::new(roots, &patterns) {
                Ok(inotify) => (Some(Means::Kernel(inotify)), None),
                Err(why) => (None, Some(format!("inotify cannot be used: {why}"))),
            },
        };
        let means = means.unwrap_or_else(|| {
            Means::Looking(Polling::new(roots, &patterns), Instant::now() + INTERVAL)
        });
        Self { patterns, means, note, waiting: Vec::new(), since: Instant::now() }
    }

    /// A sentence about files that are looked at now and then, once.
    pub(crate) fn note(&mut self) -> Option<String> {
        self.note
            .take()
            .map(|why| format!("{why}; files are looked at every {} ms", INTERVAL.as_millis()))
    }

    /// What can be read when there is something to look at.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.means {
            Means::Kernel(inotify) => Some(inotify.as_fd()),
            Means::Looking(..) => None,
        }
    }

    /// When to call [`changed`](Self::changed) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let settled = (!self.waiting.is_empty()).then(|| self.since + SETTLE);
        match &self.means {
            Means::Kernel(_) => settled,
            Means::Looking(_, next) => Some(settled.map_or(*next, |settled| settled.min(*next))),
        }
    }

    /// The files of a save, once all of it is there.
    pub(crate) fn changed(&mut self) -> Vec<(Change, PathBuf)> {
        let now = Instant::now();
        let found = match &mut self.means {
            Means::Kernel(inotify) => inotify.changed(&self.patterns),
            Means::Looking(polling, next) if now >= *next => {
                *next = now + INTERVAL;
                polling.changed(&self.patterns)
            }
            Means::Looking(..) => vec![],
        };
        if !found.is_empty() {
            if self.waiting.is_empty() {
                self.since = now;
            }
            self.waiting.extend(found);
        }
        if self.waiting.is_empty() || now < self.since + SETTLE {
            return vec![];
        }
        std::mem::take(&mut self.waiting)
    }
}

fn is_unseen(path: &Path) -> bool {
    let kind = rustix::fs::statfs(path).ok().and_then(|found| u64::try_from(found.f_type).ok());
    kind.is_some_and(|kind| UNSEEN.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(watcher: &mut Watcher) -> Vec<(Change, PathBuf)> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let found = watcher.changed();
            if !found.is_empty() {
                return found;
            }
            assert!(Instant::now() < end, "no change was seen");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn sees_changes(name: &str, make: impl FnOnce(&[PathBuf], Patterns) -> Watcher) {
        let root = std::env::temp_dir().join(format!("watch-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("node_modules")).unwrap();
        std::fs::write(root.join("a.py"), "1").unwrap();
        let mut watcher = make(std::slice::from_ref(&root), Patterns::default());
        std::fs::write(root.join("node_modules/x.js"), "1").unwrap();
        std::fs::write(root.join("a.txt"), "1").unwrap();
        std::fs::write(root.join("a.py"), "22").unwrap();
        let first = wait(&mut watcher);
        std::fs::create_dir_all(root.join("new")).unwrap();
        std::fs::write(root.join("new/b.py"), "1").unwrap();
        let second = wait(&mut watcher);
        // As editors save: another file takes the name.
        std::fs::write(root.join("new/c.tmp"), "1").unwrap();
        std::fs::rename(root.join("new/c.tmp"), root.join("new/b.py")).unwrap();
        let third = wait(&mut watcher);
        std::fs::remove_dir_all(&root).unwrap();
        assert!(first.iter().all(|(_, path)| path.ends_with("a.py")), "{first:?}");
        assert!(second.iter().all(|(_, path)| path.ends_with("b.py")), "{second:?}");
        assert!(third.iter().all(|(_, path)| path.ends_with("b.py")), "{third:?}");
    }

    #[test]
    fn changes_are_seen_by_the_kernel() {
        sees_changes("kernel", |roots, patterns| {
            let inotify = Inotify::new(roots, &patterns).unwrap();
            let (means, waiting) = (Means::Kernel(inotify), Vec::new());
            Watcher { patterns, means, note: None, waiting, since: Instant::now() }
        });
    }

    #[test]
    fn more_changes_than_the_kernel_keeps_are_one_of_the_code() {
        let root = std::env::temp_dir().join(format!("watch-many-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let patterns = Patterns::default();
        let mut inotify = Inotify::new(std::slice::from_ref(&root), &patterns).unwrap();
        let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // Two events each, of which the next one differs.
        for number in 0..most.trim().parse::<usize>().unwrap() / 2 + 10 {
            std::fs::write(root.join(["a.txt", "b.txt"][number % 2]), "").unwrap();
            std::fs::remove_file(root.join(["a.txt", "b.txt"][number % 2])).unwrap();
        }
        std::fs::write(root.join("app.py"), "").unwrap();
        std::fs::create_dir(root.join("new")).unwrap();
        let lost = inotify.changed(&patterns);
        std::fs::write(root.join("new/b.py"), "").unwrap();
        let after = inotify.changed(&patterns);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(lost, [(Change::Code, root.clone())]);
        assert_eq!(after.last(), Some(&(Change::Code, root.join("new/b.py"))));
    }

    #[test]
    fn changes_are_seen_by_looking() {
        sees_changes("looking", |roots, patterns| {
            let polling = Polling::new(roots, &patterns);
            let (means, waiting) = (Means::Looking(polling, Instant::now()), Vec::new());
            Watcher { patterns, means, note: None, waiting, since: Instant::now() }
        });
    }
}
