//! Changes that the kernel tells of.

use super::tree;
use super::{Change, Patterns};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Watched folders.
pub(super) struct Inotify {
    descriptor: OwnedFd,
    roots: Vec<PathBuf>,
    folders: HashMap<i32, PathBuf>,
}

impl Inotify {
    /// Watches these folders and those below them.
    ///
    /// # Errors
    /// Also where the system permits no more watches.
    pub(super) fn new(roots: &[PathBuf], patterns: &Patterns) -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut watched = Self { descriptor, roots: roots.to_vec(), folders: HashMap::new() };
        watched.watch_all(patterns)?;
        Ok(watched)
    }

    fn watch_all(&mut self, patterns: &Patterns) -> io::Result<()> {
        let folders = self.roots.iter().flat_map(|root| tree::folders(root, patterns));
        folders.collect::<Vec<_>>().into_iter().try_for_each(|folder| self.add(folder))
    }

    fn add(&mut self, folder: PathBuf) -> io::Result<()> {
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::CREATE
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.descriptor, &folder, events) {
            Ok(number) => {
                self.folders.insert(number, folder);
                Ok(())
            }
            // A folder that has gone meanwhile, or that this user may not read.
            Err(
                rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::ACCESS,
            ) => Ok(()),
            Err(why) => Err(why.into()),
        }
    }

    /// The files that have changed since the last call.
    pub(super) fn changed(&mut self, patterns: &Patterns) -> Vec<(Change, PathBuf)> {
        let mut events = Vec::new();
        let mut buffer = [const { MaybeUninit::uninit() }; 16 << 10];
        let mut reader = Reader::new(&self.descriptor, &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
            events.push((event.wd(), event.events(), name));
        }
        let mut changed = Vec::new();
        for (number, flags, name) in events {
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                // More has changed at once than the kernel keeps: what is not known, so that all of it may have.
                let _ = self.watch_all(patterns);
                changed.extend(self.roots.first().map(|root| (Change::Code, root.clone())));
                continue;
            }
            let (Some(folder), Some(name)) = (self.folders.get(&number), name) else { continue };
            let path = folder.join(name);
            if flags.contains(ReadFlags::ISDIR) {
                self.folder_changed(&path, patterns, &mut changed);
            } else if !flags.contains(ReadFlags::CREATE) || is_complete(&path) {
                changed.extend(patterns.change(&path).map(|change| (change, path)));
            }
        }
        changed
    }

    /// A folder has come, whose files may have come before it was watched.
    fn folder_changed(
        &mut self,
        path: &Path,
        patterns: &Patterns,
        changed: &mut Vec<(Change, PathBuf)>,
    ) {
        if !path.is_dir() || !patterns.enters(path) {
            return;
        }
        for folder in tree::folders(path, patterns) {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
            changed.extend(files.filter_map(|path| Some((patterns.change(&path)?, path))));
            // Without a watch the folder is as it would be without this line.
            let _ = self.add(folder);
        }
    }
}

/// A link or a pipe is never written to and closed; other files are, after they have been made.
fn is_complete(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink())
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
