//! Has the application loaded anew: the generated script is touched, and a request that only it answers waits for the
//! new processes. The request runs on a thread of its own, because the application may take its time.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The URL path that the generated script answers for the launcher.
pub(crate) const PATH: &str = "/__mod_wsgi_rs_load__";

/// More of a response is not read.
const LONGEST_HEAD: u64 = 64 << 10;

/// What has become of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// It serves.
    Well(Duration),
    /// It could not be loaded; its page shows the traceback.
    WithError(Duration),
    /// The version before the last [`Loading::touch`] serves: no process has become ready with the newest in time.
    Before,
    /// No process has answered.
    Not,
}

/// A page that the application says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// As in `admin`.
    pub(crate) name: String,
    /// Its path within the application.
    pub(crate) path: String,
}

/// Loads the application, each time one that is newer than the last.
pub(crate) struct Loading {
    server: SocketAddr,
    host: String,
    results: UnixStream,
    writer: UnixStream,
    /// Only the answer of the newest counts.
    newest: u8,
    /// The state of the script that is to be loaded, in microseconds since the epoch, and since when it is.
    wanted: i64,
    since: Instant,
    /// What the newest answer told.
    pages: Arc<Mutex<Vec<Page>>>,
}

/// What the server has answered.
#[derive(Default)]
struct Answer {
    status: u16,
    /// The state of the script that has answered; `None` where it does not say.
    state: Option<i64>,
    pages: Vec<Page>,
}

impl Loading {
    /// `host`: the value of the `Host` header.
    pub(crate) fn new(address: IpAddr, port: u16, host: String) -> std::io::Result<Self> {
        let (results, writer) = UnixStream::pair()?;
        results.set_nonblocking(true)?;
        let (server, pages) = ((address, port).into(), Arc::default());
        let (newest, wanted, since) = (0, 0, Instant::now());
        Ok(Self { server, host, results, writer, newest, wanted, since, pages })
    }

    /// Marks the script as changed.
    pub(crate) fn touch(&mut self, script: &Path) -> std::io::Result<()> {
        let file = File::options().append(true).open(script)?;
        file.set_modified(SystemTime::now())?;
        let found = file.metadata()?;
        self.wanted = found.mtime() * 1_000_000 + found.mtime_nsec() / 1000;
        self.since = Instant::now();
        Ok(())
    }

    /// Asks the server; the answer can be read from [`AsFd`] and is taken by [`result`](Self::result).
    pub(crate) fn ask(&mut self) -> std::io::Result<()> {
        self.newest = self.newest.wrapping_add(1);
        let (number, server) = (self.newest, self.server);
        let head =
            format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        let mut writer = self.writer.try_clone()?;
        let pages = Arc::clone(&self.pages);
        std::thread::Builder::new().name("load".into()).spawn(move || {
            let Answer { status, state, pages: found } = answer(server, &head).unwrap_or_default();
            *pages.lock().unwrap_or_else(PoisonError::into_inner) = found;
            let mut message = vec![number];
            message.extend_from_slice(&status.to_ne_bytes());
            message.extend_from_slice(&state.unwrap_or(i64::MAX).to_ne_bytes());
            // The launcher may have ended meanwhile.
            let _ = writer.write_all(&message);
        })?;
        Ok(())
    }

    /// The pages that the application has told of, since the last call.
    pub(crate) fn take_pages(&self) -> Vec<Page> {
        std::mem::take(&mut *self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The answer to the newest question, if it has come.
    pub(crate) fn result(&mut self) -> Option<Loaded> {
        let mut found = None;
        let mut message = [0; 11];
        while self.results.read_exact(&mut message).is_ok() {
            let [number, s0, s1, state @ ..] = message;
            let took = self.since.elapsed();
            if number == self.newest {
                found = Some(match u16::from_ne_bytes([s0, s1]) {
                    204 | 205 if i64::from_ne_bytes(state) < self.wanted => Loaded::Before,
                    204 => Loaded::Well(took),
                    205 => Loaded::WithError(took),
                    _ => Loaded::Not,
                });
            }
        }
        found
    }
}

impl AsFd for Loading {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.results.as_fd()
    }
}

/// The response, and what its head tells.
fn answer(server: SocketAddr, head: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    let mut text = Vec::new();
    // The connection ends with the response.
    stream.take(LONGEST_HEAD).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let fields = lines.take_while(|line| !line.is_empty()).filter_map(|it| it.split_once(": "));
    let mut answer = Answer { status, ..Answer::default() };
    for (name, value) in fields {
        if name.eq_ignore_ascii_case("x-mod-wsgi-rs-state") {
            answer.state = value.parse().ok();
        } else if name.eq_ignore_ascii_case("x-mod-wsgi-rs-page")
            && let Some((title, path)) = value.split_once(' ')
        {
            answer.pages.push(Page { name: title.to_owned(), path: path.to_owned() });
        }
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answer_to_the_newest_question_counts() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let mut loading = Loading::new(address.ip(), address.port(), "x".into()).unwrap();
        let answer = |status: &str| {
            let (mut stream, _) = server.accept().unwrap();
            let mut head = [0; 512];
            assert!(stream.read(&mut head).unwrap() > 0);
            stream.write_all(format!("HTTP/1.1 {status} x\r\n\r\n").as_bytes()).unwrap();
        };
        let wait = |loading: &mut Loading| {
            assert!(sys::is_readable(loading.as_fd(), Duration::from_secs(20)));
            loading.result()
        };
        loading.ask().unwrap();
        answer("205");
        assert!(matches!(wait(&mut loading), Some(Loaded::WithError(_))));
        assert!(loading.take_pages().is_empty());
        loading.ask().unwrap();
        answer("204 x\r\nX-Mod-Wsgi-Rs-Page: admin /admin/\r\nOther: y");
        assert!(matches!(wait(&mut loading), Some(Loaded::Well(_))));
        let expected = [Page { name: "admin".into(), path: "/admin/".into() }];
        assert_eq!(loading.take_pages(), expected);
        assert!(loading.take_pages().is_empty());
        loading.ask().unwrap();
        answer("503");
        assert_eq!(wait(&mut loading), Some(Loaded::Not));
        assert_eq!(loading.result(), None);
        let script = std::env::temp_dir().join(format!("loading-{}.wsgi", std::process::id()));
        std::fs::write(&script, "").unwrap();
        loading.touch(&script).unwrap();
        std::fs::remove_file(&script).unwrap();
        for (state, is_newest) in [(loading.wanted - 1, false), (loading.wanted, true)] {
            loading.ask().unwrap();
            answer(&format!("204 x\r\nX-Mod-Wsgi-Rs-State: {state}\r\nOther:"));
            let found = wait(&mut loading);
            assert_eq!(matches!(found, Some(Loaded::Well(_))), is_newest, "{found:?}");
            assert_eq!(found == Some(Loaded::Before), !is_newest, "{found:?}");
        }
    }
}
