//! Has the application loaded anew: the generated script is touched, and a request that only it answers waits for the
//! new processes. The request runs on a thread of its own, because the application may take its time.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
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
    /// What the newest answer told.
    pages: Arc<Mutex<Vec<Page>>>,
}

impl Loading {
    /// `host`: the value of the `Host` header.
    pub(crate) fn new(address: IpAddr, port: u16, host: String) -> std::io::Result<Self> {
        let (results, writer) = UnixStream::pair()?;
        results.set_nonblocking(true)?;
        let (server, pages) = ((address, port).into(), Arc::default());
        Ok(Self { server, host, results, writer, newest: 0, pages })
    }

    /// Marks the script as changed.
    pub(crate) fn touch(script: &Path) -> std::io::Result<()> {
        File::options().append(true).open(script)?.set_modified(SystemTime::now())
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
            let begun = Instant::now();
            let (status, found) = answer(server, &head).unwrap_or_default();
            *pages.lock().unwrap_or_else(PoisonError::into_inner) = found;
            let milliseconds = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
            let mut message = vec![number];
            message.extend_from_slice(&status.to_ne_bytes());
            message.extend_from_slice(&milliseconds.to_ne_bytes());
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
        let mut message = [0; 7];
        while self.results.read_exact(&mut message).is_ok() {
            let [number, s0, s1, m0, m1, m2, m3] = message;
            let took = Duration::from_millis(u32::from_ne_bytes([m0, m1, m2, m3]).into());
            if number == self.newest {
                found = Some(match u16::from_ne_bytes([s0, s1]) {
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

/// The status of the response, and the pages in its head.
fn answer(server: SocketAddr, head: &str) -> Option<(u16, Vec<Page>)> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    let mut text = Vec::new();
    // The connection ends with the response.
    stream.take(LONGEST_HEAD).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let page = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let (title, path) = value.split_once(' ')?;
        name.eq_ignore_ascii_case("x-mod-wsgi-rs-page")
            .then(|| Page { name: title.to_owned(), path: path.to_owned() })
    };
    Some((status, lines.take_while(|line| !line.is_empty()).filter_map(page).collect()))
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
    }
}
