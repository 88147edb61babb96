//! What a group does when one of its child processes has exited.
#![forbid(unsafe_code)]

use super::group::Group;
use super::slot::{Slot, Worker};
use crate::message::Reason;
use crate::time_limit;
use scoreboard::{ExitReason, Field, now};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use sys::{Reaped, SIGKILL, SIGTERM};
use wsgi::Level;

/// A service script that ends sooner, or a worker that exits sooner and has had no request, is started again
/// ever more slowly.
const MIN_LIFETIME: Duration = Duration::from_secs(5);

impl Group {
    /// Handles every child that has exited.
    pub(super) fn reap(&mut self) {
        // A child that is no worker: a template, or an orphan that a worker has left behind.
        while let Some(child) = sys::reap() {
            let Reaped { pid, status, .. } = child;
            let cause = self.outputs.note_exit(pid);
            let of = |slot: &Slot| slot.workers().any(|worker| worker.pid == pid);
            match self.slots.iter().position(of) {
                Some(index) => self.handle_exit(index, child, cause.of_exit()),
                None => self.handle_template_exit(pid, status, cause.of_exit()),
            }
        }
    }

    /// `cause`: what the process has said about its end.
    fn handle_exit(
        &mut self,
        index: usize,
        Reaped { pid, status, cpu }: Reaped,
        cause: Option<&str>,
    ) {
        // Read at the end of each worker, so that what happened to another one is not taken for this one's.
        let oom = self.oom_kills.has_risen();
        let (stopping, service) = (self.stopping, self.config.is_service());
        let Some(slot) = self.slots.get_mut(index) else { return };
        let exited = |worker: &mut Worker| worker.pid == pid;
        let current = slot.current.take_if(exited);
        let incoming = slot.incoming.take_if(exited);
        let (was_current, was_incoming) = (current.is_some(), incoming.is_some());
        let mut leaving = slot.leaving.extract_if(.., |worker| worker.pid == pid);
        let Some(worker) = current.or(incoming).or_else(|| leaving.next()) else { return };
        drop(leaving);
        let is_for_new_code = slot.wanted.is_some_and(Reason::is_for_new_code);
        // A worker that has had a request may have exited because of it: then the next start need not wait.
        let is_early = worker.started.elapsed() < MIN_LIFETIME && !worker.has_served();
        if !is_early {
            slot.early_exits = 0;
        }
        if was_current {
            slot.current = slot.incoming.take();
        }
        match worker.ready {
            true if was_current && is_early => slot.back_off_after_early_exit(),
            true if was_current => slot.not_before = Instant::now(),
            false if (was_current || was_incoming) && !stopping => slot.back_off(),
            _ => {}
        }
        let pause = slot.not_before.saturating_duration_since(Instant::now()).as_secs_f64();
        let next = match slot.current {
            None if pause > 0.0 && was_current && !stopping => {
                format!("; restarting in {pause:.1} s")
            }
            _ => String::new(),
        };
        worker.record.set(Field::Failures, if worker.ready { 0 } else { slot.failures.into() });
        let late = self.lateness(&worker);
        let cause = late.as_deref().or(cause);
        if !worker.ready && !worker.cancelled && !stopping {
            // Before the exit, which may be what has requests refused: they tell the cause.
            self.start_cause.put(cause);
        }
        self.publish_exit(&worker, status, reason(&worker, status, oom), cpu);
        let starting = if worker.ready { "" } else { " (it was starting)" };
        let description = worker.record.exit_description();
        let level = level_of_exit(&worker, status, service);
        self.log(level, &format!("{description}{starting}{next}"));
        let why = worker.record.describe_exit(cause);
        if !worker.ready && !worker.cancelled {
            self.fail_replacement_of(index, worker.started, &why);
        }
        if was_incoming && is_for_new_code && !stopping {
            self.give_up_replacement(index, &worker, &why);
        }
    }

    /// A worker with new code has exited before it was ready, as `why` says.
    fn give_up_replacement(&mut self, index: usize, worker: &Worker, why: &str) {
        if worker.told == Some(Reason::StartupTimeout) {
            return self.postpone_replacement(why);
        }
        if let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.current.is_none()) {
            slot.wanted = None;
        }
        self.abort_replacement(why);
    }

    /// That a worker was killed because it took too long to start, where that is so.
    fn lateness(&self, worker: &Worker) -> Option<String> {
        let limit = time_limit::enabled(self.config.timers.startup_timeout)?.as_secs_f64();
        let is_late = !worker.ready && worker.told == Some(Reason::StartupTimeout);
        is_late.then(|| format!("it was not ready within startup-timeout ({limit} s)"))
    }

    /// Writes to the scoreboard how a worker has ended, and counts that.
    fn publish_exit(&self, worker: &Worker, status: ExitStatus, reason: ExitReason, cpu: Duration) {
        worker.record.set(Field::OutOfMemory, (reason == ExitReason::OutOfMemory).into());
        worker.record.mark_exited(status.into_raw(), now());
        let cpu = u64::try_from(cpu.as_micros()).unwrap_or(0);
        self.memory.board.counters().note_exit(reason, cpu);
        if matches!(reason, ExitReason::Reload | ExitReason::ReloadCommand) {
            self.memory.board.note_reload(now());
        }
    }
}

/// How serious the end of a worker is.
fn level_of_exit(worker: &Worker, status: ExitStatus, service: bool) -> Level {
    // A service script is stopped by SIGTERM, perhaps before Python has its handler.
    let obeyed = service && status.signal() == Some(SIGTERM);
    match worker.told {
        Some(_) if status.success() || worker.cancelled || obeyed => Level::Info,
        Some(_) => Level::Warning,
        None if service && status.success() => Level::Info,
        None => Level::Error,
    }
}

/// Why a worker has exited, for metrics. `oom`: the kernel has killed a process for want of memory.
fn reason(worker: &Worker, status: ExitStatus, oom: bool) -> ExitReason {
    if worker.record.get(Field::TimeLimit) != 0 {
        return ExitReason::TimeLimit;
    }
    // To a worker that it has not told to finish the manager sends SIGKILL when it has lost touch with it, and some time
    // has passed.
    let is_killed = worker.channel_lost && worker.kill_at.is_none();
    match (worker.told, status.signal()) {
        (None, Some(SIGKILL)) if oom && !is_killed => ExitReason::OutOfMemory,
        // A request that hangs, and therefore ends its worker, often does not let it finish either.
        (Some(Reason::RequestTimeout | Reason::StartupTimeout | Reason::CpuTimeLimit), _) => {
            ExitReason::TimeLimit
        }
        (Some(why), _) if status.success() || worker.cancelled => reason_of_order(why),
        (Some(_), _) => ExitReason::Killed,
        (None, _) if !worker.ready => ExitReason::StartFailed,
        (None, Some(_)) => ExitReason::Signal,
        (None, None) if status.success() => ExitReason::Exited,
        (None, None) => ExitReason::Status,
    }
}

const fn reason_of_order(told: Reason) -> ExitReason {
    match told {
        Reason::Signal => ExitReason::Stopped,
        Reason::ScriptReload | Reason::Rolling => ExitReason::Reload,
        Reason::ReloadCommand => ExitReason::ReloadCommand,
        Reason::RecycleCommand => ExitReason::RecycleCommand,
        Reason::DrainCommand => ExitReason::DrainCommand,
        Reason::MaximumMemory => ExitReason::MaximumMemory,
        Reason::CpuTimeLimit | Reason::RequestTimeout | Reason::StartupTimeout => {
            ExitReason::TimeLimit
        }
        Reason::MaximumRequests
        | Reason::InactivityTimeout
        | Reason::RestartInterval
        | Reason::Eviction => ExitReason::Recycled,
    }
}
