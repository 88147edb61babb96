//! Whether a user gets to a file: every folder on the way has to be entered. Root asks as that user; others read the
//! modes, which access control lists may add to.

use super::groups::Who;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What becomes of a user on the way to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    /// The folder or the file at the end that the user may not enter or read.
    Closed(PathBuf),
    /// The first part that does not exist.
    Missing(PathBuf),
    /// The folder beyond which this process cannot look.
    Unseen(PathBuf),
}

/// All answers about one path have to come within this time.
const LIMIT: Duration = Duration::from_secs(5);

impl Way {
    /// The way of `who` to `path`.
    pub(super) fn to(path: &Path, who: Who) -> Self {
        let parts = parts(path);
        match sys::is_root() {
            true => Self::as_user(&parts, who).unwrap_or(Self::Unseen(path.to_owned())),
            false => Self::by_mode(&parts, who),
        }
    }

    fn as_user(parts: &[&Path], who: Who) -> Option<Self> {
        let credentials = sys::Credentials::new(who.uid, who.gid, None);
        let mut inspector = sys::Inspector::start(Some(&credentials), LIMIT).ok()?;
        for part in parts {
            let is_folder = match inspector.mode(part) {
                Ok(_) => inspector.is_directory(part),
                Err(why) if is_missing(why.kind()) => {
                    return Some(Self::Missing(part.to_path_buf()));
                }
                Err(_) => return Some(Self::Closed(part.to_path_buf())),
            };
            let reached = match is_folder {
                true => inspector.enter(part).is_ok(),
                // A file that is longer than what is read at once can be read.
                false => !inspector
                    .content(part)
                    .is_err_and(|why| why.kind() == ErrorKind::PermissionDenied),
            };
            if !reached {
                return Some(Self::Closed(part.to_path_buf()));
            }
        }
        Some(Self::Open)
    }

    fn by_mode(parts: &[&Path], who: Who) -> Self {
        let user = sys::user_by_id(who.uid);
        let groups = user.map_or_else(Vec::new, |user| sys::groups_of(&user.name, who.gid));
        for part in parts {
            let found = match std::fs::metadata(part) {
                Ok(found) => found,
                Err(why) if is_missing(why.kind()) => return Self::Missing(part.to_path_buf()),
                Err(_) if who.uid == sys::effective_uid() => {
                    return Self::Closed(part.to_path_buf());
                }
                Err(_) => return Self::Unseen(part.to_path_buf()),
            };
            let is_of_group = found.gid() == who.gid || groups.contains(&found.gid());
            let shift = match (found.uid() == who.uid, is_of_group) {
                (true, _) => 6,
                (false, true) => 3,
                (false, false) => 0,
            };
            let wanted = if found.is_dir() { 0o1 } else { 0o4 };
            if who.uid != 0 && (found.mode() >> shift) & wanted == 0 {
                return Self::Closed(part.to_path_buf());
            }
        }
        Self::Open
    }
}

fn is_missing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// From the root to the path itself.
fn parts(path: &Path) -> Vec<&Path> {
    let mut parts: Vec<&Path> =
        path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_folder_that_is_closed_is_named() {
        let base = std::env::temp_dir().join(format!("doctor-way-{}", std::process::id()));
        let closed = base.join("closed");
        std::fs::create_dir_all(&closed).unwrap();
        let file = base.join("a.py");
        std::fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(&base, 0o755);
        mode(&closed, 0o700);
        mode(&file, 0o644);
        let other = Who { uid: 4_000_000, gid: 4_000_000 };
        let ways = [Way::to(&file, other), Way::to(&closed.join("x.py"), other)];
        let missing = Way::to(&base.join("none/x.py"), other);
        mode(&file, 0o600);
        let unreadable = Way::to(&file, other);
        let by_mode = Way::by_mode(&parts(&file), other);
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(ways, [Way::Open, Way::Closed(closed)]);
        assert_eq!(missing, Way::Missing(base.join("none")));
        assert_eq!((unreadable, by_mode), (Way::Closed(file.clone()), Way::Closed(file)));
    }
}
