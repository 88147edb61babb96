//! `wsgi-daemon --drain`: has a running daemon drain, and waits until it has. For the preStop hook of a container and
//! for scripts.
#![forbid(unsafe_code)]

use crate::time_limit;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why a daemon is not drained.
#[derive(Debug)]
pub(crate) enum DrainError {
    /// Nothing answers at the admin socket.
    Unreachable(PathBuf, io::Error),
    /// It has answered something else; the text of that.
    Refused(String),
    /// It still serves requests after this time.
    TimedOut(Duration),
}

impl DrainError {
    /// The exit code of the program.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable(..) | Self::Refused(_) => 1,
            Self::TimedOut(_) => 3,
        }
    }
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(path, why) => {
                write!(f, "no daemon answers at unix:{}: {why}", path.display())
            }
            Self::Refused(text) => write!(f, "the daemon has not drained: {text}"),
            Self::TimedOut(limit) => {
                write!(f, "requests were still being served after {} s", limit.as_secs_f64())
            }
        }
    }
}

const REQUEST: &[u8] = b"POST /-/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
/// The most bytes of an answer.
const MAX_ANSWER: usize = 8 * 1024;

/// Has the daemon with this admin socket drain, and returns once it has; `limit` is how long that may take.
///
/// # Errors
/// When it cannot be asked, or has not drained in time.
pub(crate) fn drain(admin: &Path, limit: Option<Duration>) -> Result<(), DrainError> {
    let until = limit.map(|limit| (time_limit::deadline(Instant::now(), limit), limit));
    let unreachable = |why| DrainError::Unreachable(admin.to_owned(), why);
    let mut stream = UnixStream::connect(admin).map_err(unreachable)?;
    stream.write_all(REQUEST).map_err(unreachable)?;
    let mut answer = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        if let Some((until, limit)) = until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(DrainError::TimedOut(limit));
            }
            stream.set_read_timeout(Some(left)).map_err(unreachable)?;
        }
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) if answer.len() < MAX_ANSWER => {
                answer.extend_from_slice(bytes.get(..count).unwrap_or_default());
            }
            Ok(_) => break,
            Err(why)
                if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            }
            Err(why) => return Err(unreachable(why)),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = answer.lines().next().unwrap_or("it has ended before that");
    Err(DrainError::Refused(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// What becomes of the command where the daemon answers this and closes, or goes on without an answer.
    fn outcome(name: &str, answer: Option<&'static [u8]>) -> Result<(), DrainError> {
        let path = std::env::temp_dir().join(format!("drain-{name}-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let daemon = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = vec![0; REQUEST.len()];
            client.read_exact(&mut request).unwrap();
            assert_eq!(request, REQUEST);
            match answer {
                Some(answer) => client.write_all(answer).unwrap(),
                None => drop(ended.recv()),
            }
        });
        let outcome = drain(&path, Some(Duration::from_millis(300)));
        drop(done);
        daemon.join().unwrap();
        std::fs::remove_file(path).unwrap();
        outcome
    }

    #[test]
    fn outcome_is_what_the_daemon_answers() {
        assert!(outcome("done", Some(b"HTTP/1.1 200 OK\r\n\r\ndrained\n")).is_ok());
        let refused = outcome("refused", Some(b"HTTP/1.1 403 Forbidden\r\n\r\n")).unwrap_err();
        assert_eq!(refused.to_string(), "the daemon has not drained: HTTP/1.1 403 Forbidden");
        let ended = outcome("ended", Some(b"")).unwrap_err();
        assert_eq!(ended.exit_code(), 1);
        let late = outcome("late", None).unwrap_err();
        assert_eq!((late.exit_code(), late.to_string().contains("0.3 s")), (3, true));
        let nothing = drain(Path::new("/no/such/socket"), None).unwrap_err();
        assert_eq!(nothing.exit_code(), 1);
    }
}
