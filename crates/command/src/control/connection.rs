//! A request to the manager of a group, and its answer.
//!
//! The socket is in a directory that tenants may be able to write to, and the command runs as root. So it is talked to only
//! if root, or this user, has made it by that very name: the kernel says who listens and what the socket was bound to, which
//! neither a link nor another name changes. What comes is limited in time and size.

use super::manager;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status of HTTP.
    pub(crate) code: u16,
    /// The user that the group runs as: the owner of its socket.
    pub(crate) user: u32,
    pub(crate) body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// No process listens any more.
    Gone,
    /// Apache's parent listens, and there is no manager that would answer.
    Missing,
    /// Its manager takes no more connections just now: as many wait as may.
    Busy,
    /// This user may not connect.
    Forbidden,
    /// The socket is not what its name says; why.
    Untrusted(String),
    /// No answer has come within this time.
    TimedOut(Duration),
    /// What has come is no answer, or the connection has failed; why.
    Broken(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("its manager does not listen"),
            Self::Missing => {
                f.write_str("it has no manager; the error log and the status page say why")
            }
            Self::Busy => f.write_str("its manager takes no connection"),
            Self::Forbidden => f.write_str("only root and the group's user may ask it"),
            Self::Untrusted(why) => write!(f, "its socket is not trusted: {why}"),
            Self::TimedOut(limit) => {
                write!(
                    f,
                    "its manager has not answered within {} s: it is stopped or busy, or there is none, as the error \
                     log and the status page say then; what was asked may go on",
                    limit.as_secs()
                )
            }
            Self::Broken(why) => write!(f, "its answer cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Unanswered {}

/// The most bytes of an answer: several times what ten thousand workers take.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// After so long without an answer it is found out whether there is a manager.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Sends a request to the socket at `path`, and gives the answer, which may take as long as `limit`. Where no connection is
/// taken just now, that is waited for as long as `wait`: before the connection nothing says who has made the socket.
pub(super) fn ask(
    path: &Path,
    method: &str,
    target: &str,
    wait: Duration,
    limit: Duration,
) -> Result<Reply, Unanswered> {
    let until = Instant::now() + limit;
    // What is to be done is done by the next manager; a question is not kept waiting for it.
    let mut look = (method == "GET").then(|| until.min(Instant::now() + LOOK_AFTER));
    let (mut stream, user) = connect(path, wait)?;
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let broken = |why: io::Error| Unanswered::Broken(why.to_string());
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut answer = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let now = Instant::now();
        if look.take_if(|at| *at <= now).is_some()
            && answer.is_empty()
            && manager::is_missing(&stream)
        {
            return Err(Unanswered::Missing);
        }
        if until <= now {
            return Err(Unanswered::TimedOut(limit));
        }
        let next = look.unwrap_or(until);
        stream.set_read_timeout(Some(next.saturating_duration_since(now))).map_err(broken)?;
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(why) => return Err(broken(why)),
        }
        if answer.len() > MAX_ANSWER {
            return Err(Unanswered::Broken("it has no end".to_owned()));
        }
    }
    let (code, body) = parse(&answer).ok_or_else(|| {
        let what = if answer.is_empty() { "there is none" } else { "it is no answer of HTTP" };
        Unanswered::Broken(what.to_owned())
    })?;
    Ok(Reply { code, user, body })
}

/// Connects to the socket at `path` if root or this user has made it by that name; the connection, and the user of the
/// group.
fn connect(path: &Path, wait: Duration) -> Result<(UnixStream, u32), Unanswered> {
    let untrusted = |why: &str| Unanswered::Untrusted(why.to_owned());
    let file = sys::open_path(path).map_err(|why| refusal(&why))?;
    let found = file.metadata().map_err(|why| refusal(&why))?;
    if !found.file_type().is_socket() {
        return Err(untrusted("it is another kind of file"));
    }
    // The file that was examined, whatever has its name by now.
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    let stream =
        sys::connect(Path::new(&opened), wait, |_| {}).map_err(|why| match why.kind() {
            ErrorKind::WouldBlock => Unanswered::Busy,
            _ => refusal(&why),
        })?;
    let maker = sys::peer_uid(stream.as_fd()).map_err(|why| refusal(&why))?;
    if maker != 0 && maker != sys::effective_uid() {
        return Err(Unanswered::Untrusted(format!("user {maker} has made it")));
    }
    let bound = stream.peer_addr().map_err(|why| refusal(&why))?;
    let bound = bound.as_pathname().and_then(Path::file_name);
    if bound.is_none() || bound != path.file_name() {
        return Err(untrusted("it was made by another name"));
    }
    Ok((stream, found.uid()))
}

fn refusal(why: &io::Error) -> Unanswered {
    match why.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => Unanswered::Gone,
        ErrorKind::PermissionDenied => Unanswered::Forbidden,
        _ => Unanswered::Broken(why.to_string()),
    }
}

/// Status and body of a response.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, body) = (answer.get(..end)?, answer.get(end + 4..)?);
    let head = std::str::from_utf8(head).ok()?;
    let code = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((code, String::from_utf8_lossy(body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    const LIMIT: Duration = Duration::from_millis(300);

    /// What becomes of a request to a socket of that name, in a folder that `change` has changed, where `answer` is
    /// answered, or nothing.
    fn outcome(
        name: &str,
        answer: Option<&'static [u8]>,
        change: impl FnOnce(&Path) -> PathBuf,
    ) -> Result<Reply, Unanswered> {
        let folder = std::env::temp_dir().join(format!("control-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("wsgi.1.0.site.admin");
        let listener = UnixListener::bind(&path).unwrap();
        let asked = change(&path);
        let outcome = std::thread::scope(|scope| {
            let client = scope.spawn(|| ask(&asked, "GET", "/-/status", LIMIT, LIMIT));
            listener.set_nonblocking(true).unwrap();
            let mut connections = Vec::new();
            while !client.is_finished() {
                if let Ok((mut stream, _)) = listener.accept() {
                    if let Some(answer) = answer {
                        let _ = stream.read(&mut [0; 1024]);
                        let _ = stream.write_all(answer);
                    } else {
                        connections.push(stream);
                    }
                }
                std::thread::yield_now();
            }
            client.join().unwrap()
        });
        std::fs::remove_dir_all(folder).unwrap();
        outcome
    }

    fn same(path: &Path) -> PathBuf {
        path.to_owned()
    }

    #[test]
    fn answer_has_status_and_body() {
        let reply =
            outcome("fine", Some(b"HTTP/1.1 409 Conflict\r\nA: b\r\n\r\n{}\n"), same).unwrap();
        assert_eq!((reply.code, reply.body.as_str()), (409, "{}\n"));
        assert_eq!(reply.user, sys::effective_uid());
    }

    #[test]
    fn socket_that_does_not_answer_or_answers_something_else_is_no_answer() {
        assert!(matches!(outcome("late", None, same), Err(Unanswered::TimedOut(_))));
        assert!(matches!(outcome("empty", Some(b""), same), Err(Unanswered::Broken(_))));
        assert!(matches!(outcome("other", Some(b"x\r\n\r\n"), same), Err(Unanswered::Broken(_))));
    }

    #[test]
    fn link_and_renamed_socket_and_other_file_are_not_talked_to() {
        let fine: Option<&[u8]> = Some(b"HTTP/1.1 200 OK\r\n\r\n");
        let link = |path: &Path| {
            let other = path.with_file_name("wsgi.1.1.other.admin");
            std::os::unix::fs::symlink(path, &other).unwrap();
            other
        };
        assert!(matches!(outcome("link", fine, link), Err(Unanswered::Untrusted(_))));
        let renamed = |path: &Path| {
            let other = path.with_file_name("wsgi.1.1.other.admin");
            std::fs::rename(path, &other).unwrap();
            other
        };
        assert!(matches!(outcome("renamed", fine, renamed), Err(Unanswered::Untrusted(_))));
        let file = |path: &Path| {
            let other = path.with_file_name("wsgi.1.1.other.admin");
            std::fs::write(&other, "").unwrap();
            other
        };
        assert!(matches!(outcome("file", fine, file), Err(Unanswered::Untrusted(_))));
        let gone = |path: &Path| path.with_file_name("wsgi.1.1.gone.admin");
        assert!(matches!(outcome("gone", fine, gone), Err(Unanswered::Gone)));
    }
}
