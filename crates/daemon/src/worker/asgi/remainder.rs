//! What is left of an answer in the place of an application, of which the request is over: it goes out behind the lines of
//! the log for which there was no room. It knows neither the application nor the event loop.
#![forbid(unsafe_code)]

use crate::time_limit;
use crate::worker::asgi::queue::SendQueue;
use crate::worker::asgi::slots::{Interest, Slots, SocketPlace, Unsent};
use crate::worker::connection::Connection;
use crate::worker::pool::Pool;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use wsgi::Level;

/// The end of an answer, and what its request has taken.
pub(super) struct Remainder {
    pub(super) pool: Arc<Pool>,
    /// `None` once all has been sent, or nothing can be sent any more.
    pub(super) connection: Option<Box<Connection>>,
    pub(super) queue: SendQueue,
    /// The place of the request, which is held so that nothing else answers under its number.
    pub(super) number: usize,
    pub(super) is_activity: bool,
    /// Where the request has asked for a WebSocket.
    pub(super) socket: Option<SocketPlace>,
}

impl Remainder {
    /// The number under which what happens on the connection is reported.
    pub(super) fn token(&self) -> usize {
        self.socket.as_ref().map_or(self.number, SocketPlace::number)
    }

    /// Waits for room; whether that is possible.
    fn await_room(&self, slots: &Slots, connection: &Connection) -> bool {
        let interest = Interest { input: false, output: true, end: false };
        let watched = slots.watch(connection.as_fd(), self.token(), interest, true);
        if let Err(why) = &watched {
            let line = format!("cannot wait for a connection: {why}");
            self.pool.log.write(Level::Error, line.as_bytes());
        }
        watched.is_ok()
    }

    /// Closes the connection, on which nothing more is sent.
    fn close(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if let Some(slots) = &self.pool.asgi {
            slots.forget(connection.as_fd());
        }
        self.pool.connections.close(connection);
    }
}

impl Unsent for Remainder {
    fn advance(&mut self) -> bool {
        let pool = Arc::clone(&self.pool);
        let (Some(connection), Some(slots)) = (&self.connection, &pool.asgi) else { return true };
        let sent = self.queue.send_kept(connection, &pool.log);
        if sent.is_ok() && !self.queue.is_empty() {
            return !self.await_room(slots, connection);
        }
        if sent.is_err() {
            self.close();
        } else if let Some(connection) = self.connection.take() {
            slots.forget(connection.as_fd());
            pool.reuse(connection);
        }
        true
    }

    fn limit(&self) -> Option<Duration> {
        time_limit::enabled(self.pool.config.timers.socket_timeout)
    }

    fn give_up(&mut self) {
        let line =
            b"a connection was closed: the end of an answer was not read within socket-timeout";
        self.pool.log.write(Level::Info, line);
        self.close();
    }
}

impl Drop for Remainder {
    fn drop(&mut self) {
        // A process that the application has forked has a copy of it, and not the connection.
        if sys::in_forked_child() {
            return std::mem::forget(self.connection.take());
        }
        self.close();
        self.pool.end_on_loop(self.number, self.is_activity);
    }
}
