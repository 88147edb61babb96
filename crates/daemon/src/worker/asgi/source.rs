//! What an event loop serves: connections are accepted and requests begun as threads do it elsewhere, without waiting.
#![forbid(unsafe_code)]

use crate::worker::asgi::exchange::{Begun, LoopExchange};
use crate::worker::asgi::slots::{Progress, Slots, Start};
use crate::worker::connection::{Connection, Next};
use crate::worker::connections::Wakeup;
use crate::worker::pool::Pool;
use crate::worker::serving::{Admitted, QUEUE_TIMEOUT, QUEUE_TIMEOUT_LINE, end_in_forked_child};
use fastcgi::app_status::{Cause, StatusOnly};
use host::{AsgiEvent, AsgiExchange, AsgiExecutor, AsgiSource};
use scoreboard::Executor;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use wsgi::Level;

/// The connections of a worker, for its event loop.
pub(super) struct LoopSource(Arc<Pool>);

impl Pool {
    /// The answer on a connection of the event loop has been sent: it is free for the next request.
    pub(super) fn reuse(&self, mut connection: Box<Connection>) {
        connection.finish_request();
        let Some(connection) = self.connections.put_back(connection, &self.log) else { return };
        match &self.asgi {
            Some(slots) => slots.push_more(connection),
            None => self.connections.close(connection),
        }
    }

    /// Gives the place of a request of the event loop back.
    pub(super) fn end_on_loop(&self, number: usize, is_activity: bool) {
        self.note_end(number, is_activity);
        if let Some(slots) = &self.asgi {
            slots.give_back(number);
        }
    }
}

/// The most events that are taken at once: requests that are under way go on between them.
const BATCH: usize = 32;

impl LoopSource {
    /// `None` where the worker has no places for requests of an event loop.
    pub(super) fn new(pool: &Arc<Pool>) -> Option<Self> {
        pool.asgi.is_some().then(|| Self(Arc::clone(pool)))
    }

    fn slots(&self) -> Option<&Slots> {
        self.0.asgi.as_ref()
    }

    /// What has come on a connection, if that is a whole request that an application is to answer.
    fn examine(&self, mut connection: Box<Connection>) -> Option<AsgiEvent> {
        let Self(pool) = self;
        match connection.next_request_now() {
            Next::Request => return self.begin(connection),
            Next::Nothing => {
                if let Some(connection) = pool.connections.put_back(connection, &pool.log) {
                    self.slots()?.push_more(connection);
                }
            }
            Next::TooSlow => pool.connections.close_too_slow(connection, &pool.log),
            Next::Closed(why) => pool.end_connection(connection, why),
        }
        None
    }

    /// Looks at connections on which another request has come together with the one before, as far as there is room.
    fn examine_more(&self, slots: &Slots, events: &mut Vec<AsgiEvent>) {
        // One that is kept again has its turn after others.
        for _ in 0..slots.count_more() {
            if !slots.has_room() {
                break;
            }
            let Some(connection) = slots.pop_more() else { break };
            events.extend(self.examine(connection));
        }
    }

    fn begin(&self, mut connection: Box<Connection>) -> Option<AsgiEvent> {
        let Self(pool) = self;
        let slots = self.slots()?;
        let Some(number) = slots.take() else {
            // Room is looked for before connections are.
            pool.connections.close(connection);
            return None;
        };
        let Some(admitted) = pool.admit(&mut connection, number) else {
            slots.give_back(number);
            pool.connections.close(connection);
            return None;
        };
        let Admitted { application, wants, is_overdue, is_websocket, health, .. } = admitted;
        let place = is_websocket.then(|| slots.take_socket());
        let most = place.as_ref().and_then(|place| place.as_ref().err().copied());
        let begun = Begun {
            number,
            wants,
            wants_body: admitted.wants_body,
            is_body_withheld: admitted.is_body_withheld,
            takes_early_hints: admitted.takes_early_hints,
            place: place.and_then(Result::ok),
        };
        let mut exchange = LoopExchange::new(pool, connection, application, begun);
        if let Some(health) = health {
            exchange.fail_with(health);
            return None;
        }
        if is_overdue {
            AsgiExchange::log(&mut exchange, Level::Error, QUEUE_TIMEOUT_LINE);
            exchange.fail_with(QUEUE_TIMEOUT);
            return None;
        }
        if let Some(most) = most {
            let line = format!(
                "WSGI0233: a WebSocket is refused: {most} are open in this process (websocket-limit) [OL]"
            );
            AsgiExchange::log(&mut exchange, Level::Warning, line.as_bytes());
            exchange.fail_with(StatusOnly { status: 503, cause: Cause::Overloaded });
            return None;
        }
        Some(AsgiEvent::Request(Box::new(exchange)))
    }

    /// The next event of the connections between two requests; `None` where there is none.
    fn next_arrival(&self, events: &mut Vec<AsgiEvent>) -> io::Result<Option<()>> {
        let Self(pool) = self;
        let connection = match pool.connections.wait_now()? {
            None => return Ok(None),
            Some(Wakeup::Stop) => None,
            Some(Wakeup::Timer) => {
                pool.connections.close_late(&pool.log);
                None
            }
            Some(Wakeup::Accept) => {
                pool.acceptor.resume(&pool.connections);
                None
            }
            Some(Wakeup::Listener(_)) if pool.connections.is_draining() => None,
            Some(Wakeup::Listener(index)) => {
                pool.acceptor.accept(index, &pool.connections, &pool.config, &pool.log).connection()
            }
            Some(Wakeup::Connection(place)) => pool.connections.take(place),
        };
        events.extend(connection.and_then(|connection| self.examine(connection)));
        Ok(Some(()))
    }

    /// Has the main thread look whether draining is over.
    fn note_drain(&self) {
        if self.0.connections.is_draining() {
            self.0.wake_main_thread();
        }
    }
}

impl AsgiSource for LoopSource {
    fn arrivals(&self) -> BorrowedFd<'_> {
        self.0.connections.as_fd()
    }

    fn progress(&self) -> BorrowedFd<'_> {
        match self.slots() {
            Some(slots) => slots.as_fd(),
            None => self.0.connections.as_fd(),
        }
    }

    fn take_arrivals(&self) -> Vec<AsgiEvent> {
        end_in_forked_child();
        let mut events = Vec::new();
        let Some(slots) = self.slots() else { return events };
        self.examine_more(slots, &mut events);
        for _ in 0..BATCH {
            if !slots.has_room() {
                break;
            }
            match self.next_arrival(&mut events) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => self.0.fail_fatally(&why),
            }
        }
        self.note_drain();
        events
    }

    fn take_progress(&self) -> Vec<AsgiEvent> {
        end_in_forked_child();
        let mut events = Vec::new();
        let Some(slots) = self.slots() else { return events };
        for _ in 0..BATCH {
            match slots.next() {
                Ok(None) => break,
                Ok(Some(Progress::Stop)) => {
                    events.push(AsgiEvent::Stop);
                    break;
                }
                Ok(Some(Progress::More)) => self.examine_more(slots, &mut events),
                Ok(Some(Progress::Late)) => slots.give_late_up(),
                Ok(Some(Progress::Request(number))) if slots.advance(number) => {}
                Ok(Some(Progress::Request(number))) => events.push(AsgiEvent::Ready(number)),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => self.0.fail_fatally(&why),
            }
        }
        self.note_drain();
        events
    }

    fn has_room(&self) -> bool {
        self.slots().is_some_and(Slots::has_room)
    }

    fn note_function(&self, executor: AsgiExecutor, is_over: bool) {
        // What a process that the application has forked does is none of the worker's.
        if !sys::in_forked_child() {
            let executor = match executor {
                AsgiExecutor::Default => Executor::Default,
                AsgiExecutor::ThreadSensitive => Executor::ThreadSensitive,
            };
            self.0.record.note_function(executor, is_over);
        }
    }

    fn started(&self, failed: bool) {
        if let Some(slots) = self.slots() {
            slots.set_start(if failed { Start::Failed } else { Start::Done });
        }
    }

    fn note_lag(&self, lag: Duration) -> bool {
        let micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        self.0.board.counters().note_loop_lag(micros);
        self.slots().is_some_and(|slots| !slots.has_no_request())
    }
}
