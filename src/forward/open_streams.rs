//! The open connections of this process to workers, all of which end when httpd stops without grace. It must never know
//! what goes over them.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

/// Open sockets, and whether there may be any.
pub(super) struct OpenStreams<S> {
    sockets: Mutex<Vec<Weak<S>>>,
    /// Set once: from then on no socket is used.
    ended: AtomicBool,
}

impl<S: AsFd> OpenStreams<S> {
    pub(super) const fn new() -> Self {
        Self { sockets: Mutex::new(Vec::new()), ended: AtomicBool::new(false) }
    }

    /// Adds a socket, as long as it lives; whether it may be used.
    pub(super) fn add(&self, socket: Weak<S>) -> bool {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        // Each time the list is full, so that the cost for each socket is constant.
        if sockets.len() == sockets.capacity() {
            sockets.retain(|socket| socket.strong_count() > 0);
        }
        sockets.push(socket);
        !self.has_ended()
    }

    /// Ends all connections: threads that read, write or wait there go on at once. Does not wait for a thread that this
    /// call may have interrupted.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let Ok(sockets) = self.sockets.try_lock() else { return };
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            sys::shut_down(socket.as_fd());
        }
    }

    /// Whether all connections have been ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    #[test]
    fn open_sockets_are_shut_down_and_later_ones_refused() {
        let streams = OpenStreams::new();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let theirs = Arc::new(theirs);
        assert!(streams.add(Arc::downgrade(&theirs)));
        streams.end();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        assert!(streams.has_ended() && !streams.add(Arc::downgrade(&theirs)));
    }

    #[test]
    fn closed_sockets_are_forgotten() {
        let streams = OpenStreams::<UnixStream>::new();
        for _ in 0..1000 {
            let (socket, _) = UnixStream::pair().unwrap();
            assert!(streams.add(Arc::downgrade(&Arc::new(socket))));
        }
        assert!(streams.sockets.lock().unwrap().len() <= 8);
    }
}
