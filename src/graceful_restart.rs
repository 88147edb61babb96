//! In the parent, at a graceful restart: new children take over from old ones without a pause. It must never know a
//! request, nor a process group.
//!
//! After a graceful restart httpd replaces each old child that has exited before it first looks, sleeps for a second
//! when it finds no more of them, then starts the missing ones in free slots, and forgets those for which there is no
//! slot. Where its configuration is read faster than its children leave, nothing serves for one to three seconds.
#![forbid(unsafe_code)]

use crate::httpd::{BeforeServing, ChildSlots, Server, fill_slots_at_once, log_server};
use std::time::{Duration, Instant};
use wsgi::Level;

/// This module's part in a graceful restart.
pub(crate) struct GracefulRestart;

/// How long the first child is waited for where no other one could be started without its slot. Clients wait in the
/// backlog of httpd's sockets meanwhile.
const FIRST_CHILD: Duration = Duration::from_millis(250);
/// And where some could.
const MORE_CHILDREN: Duration = Duration::from_millis(30);
/// Children without requests leave one after the other; one that has not followed within this time has a request.
const NEXT_CHILD: Duration = Duration::from_millis(25);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl BeforeServing for GracefulRestart {
    fn before_serving(main: Server<'_>) {
        // At a start there are no slots yet, and after an ungraceful restart no children.
        let Some(slots) = ChildSlots::read().filter(|slots| !slots.children.is_empty()) else {
            return;
        };
        if slots.free < slots.children.len() {
            wait(&slots, main);
        }
        if let Err(why) = fill_slots_at_once(main.process_pool(), slots.children.len()) {
            let line = format!("new children may be started a second late: no timer: {why}");
            log_server(main, Level::Info, line.as_bytes());
        }
    }
}

/// Waits for children to leave, whose slots are needed for others. They are left to httpd, which waits for them by itself.
fn wait(slots: &ChildSlots, main: Server<'_>) {
    let all = slots.children.len();
    let limit = if slots.free == 0 { FIRST_CHILD } else { MORE_CHILDREN };
    let began = Instant::now();
    let exited = wait_for_exits(all, limit, || {
        slots.children.iter().filter(|&&pid| sys::has_exited(pid)).count()
    });
    let took = began.elapsed().as_millis();
    if exited == 0 && slots.free == 0 {
        let line = format!(
            "ServerLimit leaves no slot for new children, and within {took} ms none of the {all} old \
             ones has finished its requests: until one has, no connection is accepted; a larger \
             ServerLimit lets new children start beside old ones"
        );
        log_server(main, Level::Notice, line.as_bytes());
    } else {
        let line = format!(
            "waited {took} ms for {exited} of {all} old children to exit, because ServerLimit leaves \
             {} slots for new ones",
            slots.free
        );
        log_server(main, Level::Info, line.as_bytes());
    }
}

/// Returns how many of `all` children have exited: all of them, or as many as there are once no other one has followed
/// for a while, or after `limit`. `count` looks.
fn wait_for_exits(all: usize, limit: Duration, count: impl Fn() -> usize) -> usize {
    let began = Instant::now();
    let (mut exited, mut changed) = (0, began);
    loop {
        let now = Instant::now();
        let found = count();
        if found > exited {
            (exited, changed) = (found, now);
        }
        let is_rest_busy = exited > 0 && now - changed >= NEXT_CHILD;
        if exited == all || is_rest_busy || now - began >= limit {
            return exited;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `wait_for_exits` for three children that exit after so many milliseconds: how many it saw, and its own time.
    fn waited(exits: [u64; 3], limit: Duration) -> (usize, Duration) {
        let began = Instant::now();
        let has_exited = |&&after: &&u64| began.elapsed() >= Duration::from_millis(after);
        let exited = wait_for_exits(3, limit, || exits.iter().filter(has_exited).count());
        (exited, began.elapsed())
    }

    #[test]
    fn children_are_waited_for_as_long_as_others_follow() {
        let minute = 60_000;
        let (exited, took) = waited([0, 0, 0], FIRST_CHILD);
        assert!(exited == 3 && took < FIRST_CHILD);
        // Two leave, one has a request that takes longer.
        let (exited, took) = waited([0, 3, minute], Duration::from_secs(30));
        assert!(exited == 2 && took >= NEXT_CHILD && took < Duration::from_secs(30));
        // All are busy.
        let (exited, took) = waited([minute, minute, minute], MORE_CHILDREN);
        assert!(exited == 0 && took >= MORE_CHILDREN);
    }
}
