//! What a group does when one of its children has ended.
#![forbid(unsafe_code)]

use super::group::Group;
use super::slot::{Slot, Worker};
use crate::message::Reason;
use crate::posix::{self, SIGTERM};
use scoreboard::{Field, now};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use wsgi::Level;

/// A service script that ends sooner, or a worker that dies sooner and has had no request, is started again
/// ever more slowly.
const BRIEF: Duration = Duration::from_secs(5);

impl Group {
    pub(super) fn reap(&mut self) {
        // Others than ours: what an application left behind, or a template that is no longer needed.
        while let Some((pid, status)) = posix::reap() {
            let of = |slot: &Slot| slot.workers().any(|worker| worker.pid == pid);
            match self.slots.iter().position(of) {
                Some(index) => self.bury(index, pid, status),
                None => self.bury_template(pid, status),
            }
        }
    }

    fn bury(&mut self, index: usize, pid: i32, status: ExitStatus) {
        let (stopping, service) = (self.stopping, self.config.is_service());
        let Some(slot) = self.slots.get_mut(index) else { return };
        let dead = |worker: &mut Worker| worker.pid == pid;
        let current = slot.current.take_if(dead);
        let incoming = slot.incoming.take_if(dead);
        let (was_current, was_incoming) = (current.is_some(), incoming.is_some());
        let mut leaving = slot.leaving.extract_if(.., |worker| worker.pid == pid);
        let Some(worker) = current.or(incoming).or_else(|| leaving.next()) else { return };
        drop(leaving);
        let optional = matches!(slot.wanted, Some(Reason::ScriptReload | Reason::Rolling));
        // Who has had a request may have died of it: others wait, and the next start need not.
        let brief = worker.started.elapsed() < BRIEF && !worker.has_had_a_request();
        if !brief {
            slot.short_lives = 0;
        }
        if was_current {
            slot.current = slot.incoming.take();
        }
        match worker.ready {
            true if was_current && brief => slot.back_off_from_a_short_life(),
            true if was_current => slot.not_before = Instant::now(),
            false if (was_current || was_incoming) && !stopping => slot.back_off(),
            _ => {}
        }
        let pause = slot.not_before.saturating_duration_since(Instant::now()).as_secs_f64();
        let next = match slot.current {
            None if pause > 0.0 && was_current && !stopping => {
                format!("; the next one is started in {pause:.1} s")
            }
            _ => String::new(),
        };
        worker.record.set(Field::Failures, if worker.ready { 0 } else { slot.failures.into() });
        worker.record.mark_exited(status.into_raw(), now());
        let starting = if worker.ready { "" } else { " (it was starting)" };
        let obituary = worker.record.exit_description();
        // The order to leave is a SIGTERM there, and may come before Python knows what to do with it.
        let obeyed = service && status.signal() == Some(SIGTERM);
        let level = match worker.told {
            Some(_) if status.success() || worker.dismissed || obeyed => Level::Info,
            Some(_) => Level::Warning,
            None if service && status.success() => Level::Info,
            None => Level::Error,
        };
        self.say(level, &format!("{obituary}{starting}{next}"));
        if was_incoming && optional && !stopping {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.wanted = None;
            }
            self.give_up_replacing();
        }
    }
}
