//! Tells browsers of a new version: a small server on a Unix socket, which Apache asks for `/__mod_wsgi_rs__/`. Streams
//! that stay open end here, not in the application, so that they hold up neither a new version nor the end.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Without a word for so long, a stream would be taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A request head longer than this is not answered.
const LONGEST_HEAD: usize = 16 << 10;
/// More browsers than these are not told.
const MOST: usize = 100;

const SCRIPT: &str = include_str!("../../templates/refresh.js");

struct Client {
    stream: UnixStream,
    head: Vec<u8>,
    /// It waits for new versions.
    listens: bool,
}

/// The server.
pub(crate) struct Channel {
    listener: UnixListener,
    path: PathBuf,
    clients: Vec<Client>,
    version: u64,
    /// When that version came, in milliseconds since 1970, which the browser compares with the time of its page.
    since: u128,
    next_heartbeat: Instant,
}

impl Channel {
    /// Listens; `path` is removed at the end.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let _ = std::fs::remove_file(path);
        let listener = sys::bind_private(path)?;
        // Apache's children are another user where root starts the server. The folder decides who gets here.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            listener,
            path: path.to_owned(),
            clients: Vec::new(),
            // A browser whose page is of an earlier run sees another version.
            version: u64::try_from(now.as_millis()).unwrap_or_default(),
            since: 0,
            next_heartbeat: Instant::now() + HEARTBEAT,
        })
    }

    /// What can be read when there is something to do.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd())
            .chain(self.clients.iter().map(|client| client.stream.as_fd()))
    }

    /// When to call [`serve`](Self::serve) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.clients.is_empty()).then_some(self.next_heartbeat)
    }

    /// Accepts, reads and answers without waiting.
    pub(crate) fn serve(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() < MOST && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, head: Vec::new(), listens: false });
            }
        }
        let event = self.event();
        self.clients.retain_mut(|client| client.read(&event));
        if Instant::now() >= self.next_heartbeat {
            self.next_heartbeat = Instant::now() + HEARTBEAT;
            self.clients.retain_mut(|client| !client.listens || client.send(b":\n\n"));
        }
    }

    /// There is a new version: all browsers that listen are told.
    pub(crate) fn publish(&mut self) {
        self.version += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.since = now.as_millis();
        let event = self.event();
        self.clients.retain_mut(|client| !client.listens || client.send(event.as_bytes()));
    }

    /// Ends all streams.
    pub(crate) fn close(&mut self) {
        self.clients.clear();
    }

    fn event(&self) -> String {
        format!("event: version\ndata: {} {}\n\n", self.version, self.since)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Client {
    /// Reads what has come; `false` where the client is done with.
    fn read(&mut self, event: &str) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.head.extend_from_slice(&buffer[..length]),
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        if self.listens {
            return true;
        }
        if !self.head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            return self.head.len() < LONGEST_HEAD;
        }
        let path = self.head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        match path {
            b"/__mod_wsgi_rs__/events" => {
                self.listens = true;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                            Connection: close\r\n\r\nretry: 500\n\n";
                self.send(head.as_bytes()) && self.send(event.as_bytes())
            }
            b"/__mod_wsgi_rs__/refresh.js" => {
                self.send(response("200 OK", "text/javascript; charset=utf-8", SCRIPT).as_bytes());
                false
            }
            _ => {
                self.send(response("404 Not Found", "text/plain", "not found\n").as_bytes());
                false
            }
        }
    }

    /// A client that takes nothing has no room for a line: it is gone, or has been asleep for long.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }
}

fn response(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_until(stream: &mut UnixStream, channel: &mut Channel, part: &str) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while !String::from_utf8_lossy(&text).contains(part) {
            assert!(Instant::now() < end, "{part} does not come");
            channel.serve();
            if let Ok(length) = stream.read(&mut buffer) {
                text.extend_from_slice(&buffer[..length]);
            }
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn browsers_get_the_script_and_new_versions() {
        let path = std::env::temp_dir().join(format!("channel-{}", std::process::id()));
        let mut channel = Channel::open(&path).unwrap();
        let get = |url: &str| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            stream
        };
        let script =
            read_until(&mut get("/__mod_wsgi_rs__/refresh.js?x"), &mut channel, "EventSource");
        assert!(script.starts_with("HTTP/1.1 200 OK"));
        let missing = read_until(&mut get("/other"), &mut channel, "not found");
        assert!(missing.starts_with("HTTP/1.1 404"));
        let mut stream = get("/__mod_wsgi_rs__/events");
        let first = read_until(&mut stream, &mut channel, "data: ");
        assert!(first.contains("text/event-stream"));
        channel.publish();
        read_until(&mut stream, &mut channel, "event: version");
        channel.close();
        assert_eq!(channel.descriptors().count(), 1);
        drop(channel);
        assert!(!path.exists());
    }
}
