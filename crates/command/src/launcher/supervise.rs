//! The launcher's loop: one thread waits for signals, log lines, saved files and browsers at once.

use super::descendants;
use super::log_pipes::LogPipe;
use super::port;
use super::service_manager::ServiceManager;
use super::stopping::{Action, Phase};
use crate::failure::Failure;
use crate::lines::Output;
use crate::machine::addresses;
use crate::options::ServerOptions;
use crate::reload::{Change, Channel, Loaded, Loading, Page, Watcher};
use crate::server::Setup;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

const SIGNALS: [i32; 5] = [sys::SIGINT, sys::SIGTERM, sys::SIGHUP, sys::SIGUSR1, sys::SIGCHLD];
/// What Ctrl-C gives requests.
const CTRL_C: Duration = Duration::from_secs(2);
/// What is left of a server gets to end when Apache has been told to end now.
const REST: Duration = Duration::from_secs(1);
/// Between two looks whether the server listens yet.
const LOOK: Duration = Duration::from_millis(20);
/// The first and the longest pause between two questions whether what was saved has been loaded at last.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(16)];
/// Longer than an answer to such a question takes.
const LONGEST_ANSWER: Duration = Duration::from_secs(150);
/// After the last static file of a page its line is printed.
const FILES: Duration = Duration::from_millis(300);

/// What development needs.
pub(super) struct Watch {
    pub(super) watcher: Watcher,
    pub(super) channel: Option<Channel>,
    pub(super) loading: Loading,
    /// The pages that have been told of.
    pub(super) pages: Vec<Page>,
    /// Where the version before the last save answers: when the server is asked again, and how long after that.
    pub(super) again: Option<(Instant, Duration)>,
}

/// A server that runs.
pub(super) struct Supervisor<'a> {
    options: &'a ServerOptions,
    setup: &'a Setup,
    output: Output,
    signals: sys::Signals,
    service: ServiceManager,
    pipes: Option<(LogPipe, LogPipe)>,
    watch: Option<Watch>,
    phase: Phase,
    pid: u32,
    is_ready: bool,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        options: &'a ServerOptions,
        setup: &'a Setup,
        output: Output,
        pipes: Option<(LogPipe, LogPipe)>,
        watch: Option<Watch>,
    ) -> Result<Self, Failure> {
        let signals = sys::Signals::watch(&SIGNALS)
            .map_err(|why| Failure::server(format!("signals: {why}")))?;
        // Processes of the server that lose their parents are not lost.
        sys::become_subreaper();
        let service = ServiceManager::of_environment();
        let (phase, pid, is_ready) = (Phase::Serving, 0, false);
        Ok(Self { options, setup, output, signals, service, pipes, watch, phase, pid, is_ready })
    }

    /// Until Apache, whose process id this is, has ended, and all that belongs to it.
    pub(super) fn run(&mut self, pid: u32) -> Result<ExitCode, Failure> {
        self.pid = pid;
        let status = loop {
            self.wait();
            self.print_lines();
            let signals = self.signals.take(&SIGNALS);
            if signals.contains(&sys::SIGCHLD)
                && let Some(status) = descendants::reap(self.pid)
            {
                break status;
            }
            self.obey(&signals);
            self.become_ready();
            self.follow_files();
        };
        self.end(status)
    }

    /// Waits for the next thing to do.
    fn wait(&self) {
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        if let Some((errors, requests)) = &self.pipes {
            descriptors.extend([errors.as_fd(), requests.as_fd()]);
        }
        let mut deadline = match self.phase {
            Phase::Draining(deadline) | Phase::Ending(deadline) => Some(deadline),
            Phase::Serving | Phase::Killing => None,
        };
        let mut sooner = |time: Option<Instant>| {
            deadline = [deadline, time].into_iter().flatten().min();
        };
        if !self.is_ready && self.phase.is_serving() {
            sooner(Some(Instant::now() + LOOK));
        }
        if self.output.has_files() {
            sooner(Some(Instant::now() + FILES));
        }
        if let Some(watch) = &self.watch {
            descriptors.extend(watch.watcher.descriptor());
            descriptors.push(watch.loading.as_fd());
            descriptors.extend(watch.channel.iter().flat_map(Channel::descriptors));
            sooner(watch.watcher.deadline());
            sooner(watch.again.map(|(when, _)| when));
            sooner(watch.channel.as_ref().and_then(Channel::deadline));
        }
        let limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        sys::wait_readable(&descriptors, limit);
    }

    fn print_lines(&mut self) {
        let Some((errors, requests)) = &mut self.pipes else { return };
        let (errors, requests) = (errors.lines(), requests.lines());
        if errors.is_empty() && requests.is_empty() {
            self.output.flush();
        }
        requests.iter().for_each(|line| self.output.request(line));
        errors.iter().for_each(|line| self.output.error(line));
    }

    /// Does what signals, or the time, ask for.
    fn obey(&mut self, signals: &[i32]) {
        let now = Instant::now();
        for &signal in signals {
            match signal {
                sys::SIGINT | sys::SIGTERM => {
                    let graceful =
                        Duration::from_secs(self.options.timeouts.graceful_timeout.into());
                    let limit = if signal == sys::SIGINT { CTRL_C } else { graceful };
                    if let Some(action) = self.phase.asked(now, limit) {
                        self.stop(action);
                    }
                }
                sys::SIGHUP | sys::SIGUSR1 if self.phase.is_serving() => self.restart(),
                _ => {}
            }
        }
        if let Some(action) = self.phase.passed(now) {
            self.stop(action);
        }
    }

    /// Has Apache restart gracefully, unless it could not write its PidFile then: it would end instead.
    fn restart(&mut self) {
        if let Err(why) = try_to_write_beside(&self.setup.pid_file) {
            let file = self.setup.pid_file.display();
            let line =
                format!("no graceful restart: Apache could not write {file}, and would end: {why}");
            return self.output.warn(&line);
        }
        self.output.say("graceful restart");
        sys::kill(self.pid, sys::SIGUSR1);
    }

    fn stop(&mut self, action: Action) {
        match action {
            Action::Drain => {
                self.service.tell("STOPPING=1");
                self.output.say("stopping; once more ends it now");
                if let Some(channel) = self.watch.as_mut().and_then(|watch| watch.channel.as_mut())
                {
                    channel.close();
                }
                self.watch = None;
                // Apache that is not ready yet has nothing to drain, and may not have its handlers yet.
                sys::kill(self.pid, if self.is_ready { sys::SIGWINCH } else { sys::SIGTERM });
            }
            Action::End => sys::kill(self.pid, sys::SIGTERM),
            Action::Kill => {
                // All of Apache's own processes are in its group.
                sys::kill_session(self.pid);
            }
        }
    }

    /// Tells once that the server listens.
    fn become_ready(&mut self) {
        let listener = &self.options.listener;
        if self.is_ready || !self.phase.is_serving() {
            return;
        }
        // It listens before it has read all of its configuration, and has the file after that.
        let text = std::fs::read_to_string(&self.setup.pid_file).unwrap_or_default();
        if text.trim() != self.pid.to_string()
            || !addresses::is_listening(listener.host.as_deref(), listener.port)
        {
            return;
        }
        self.is_ready = true;
        self.service.tell("READY=1");
        for url in &self.setup.urls {
            self.output.say(&format!("serving on {url}"));
        }
        if let Some(address) = addresses::in_network(listener.host.as_deref()) {
            let secure = listener.https_port.map(|port| format!(" and https://{address}:{port}/"));
            self.output.say(&format!(
                "in the network: http://{address}:{}/{}",
                listener.port,
                secure.unwrap_or_default()
            ));
        }
        if let Some(watch) = &mut self.watch {
            self.output.say("files are watched; Ctrl-C ends the server");
            // A server that cannot be asked still serves.
            let _ = watch.loading.ask();
        }
    }

    /// In development: loads a saved application, and tells browsers when it is there.
    fn follow_files(&mut self) {
        let (Some(watch), Some(script)) = (&mut self.watch, &self.setup.script) else { return };
        let changed = watch.watcher.changed();
        if let Some((change, path)) = changed.iter().max_by_key(|(change, _)| *change) {
            let name = shown(path, &self.setup.working_directory);
            match change {
                Change::Page => {
                    if let Some(channel) = &mut watch.channel {
                        channel.publish();
                    }
                }
                Change::Code => {
                    self.output.say(&format!("{name} has changed"));
                    watch.again = None;
                    let asked = watch.loading.touch(script).and_then(|()| watch.loading.ask());
                    if let Err(why) = asked {
                        self.output.warn(&format!("{}: {why}", script.display()));
                    }
                }
            }
        }
        if let Some((when, pause)) = watch.again
            && when <= Instant::now()
        {
            // The answer sets it anew.
            watch.again = watch.loading.ask().is_ok().then(|| (when + LONGEST_ANSWER, pause));
        }
        if let Some(loaded) = watch.loading.result() {
            watch.tell(loaded, &mut self.output, self.setup);
        }
        if let Some(channel) = &mut watch.channel {
            channel.serve();
        }
    }

    /// Apache has ended: so does what is left of it, and the last lines are printed.
    fn end(&mut self, status: ExitStatus) -> Result<ExitCode, Failure> {
        let limit = match self.phase {
            Phase::Killing => Duration::ZERO,
            Phase::Ending(_) => REST,
            // Workers have this time to exit.
            Phase::Serving | Phase::Draining(_) => {
                REST + Duration::from_secs(self.options.timeouts.shutdown_timeout.into())
            }
        };
        descendants::end_all(limit, || {
            self.print_lines();
            // The second request for the end is one for an end now.
            let asked = self.signals.take(&SIGNALS);
            asked.contains(&sys::SIGINT) || asked.contains(&sys::SIGTERM)
        });
        self.print_lines();
        self.output.flush();
        if !self.phase.is_serving() {
            return Ok(ExitCode::SUCCESS);
        }
        let port = self.options.listener.port;
        let host = self.options.listener.host.as_deref();
        if !self.is_ready
            && let Err(taken) = port::choose(host, port, false)
        {
            return Err(taken);
        }
        Err(Failure::server(match self.is_ready {
            true => format!("Apache has ended by itself: {status}"),
            false => format!("Apache does not start: {status}; the lines before tell the cause"),
        }))
    }
}

impl Watch {
    /// Tells terminal and browsers what has become of a save.
    fn tell(&mut self, loaded: Loaded, output: &mut Output, setup: &Setup) {
        let again = self.again.take();
        match loaded {
            Loaded::Well(time) => {
                output.say(&format!("application loaded in {} ms", time.as_millis()));
                let pages = self.loading.take_pages();
                // Once, and again where a save has brought another one.
                for page in pages.iter().filter(|page| !self.pages.contains(page)) {
                    output.say(&format!("{}: {}", page.name, setup.url(&page.path)));
                }
                self.pages = pages;
            }
            Loaded::WithError(_) => {
                output.warn("the application cannot be loaded; the next save is tried");
            }
            Loaded::Before => {
                let [first, longest] = ASK_AGAIN;
                let pause = again.map_or(first, |(_, pause)| (pause * 2).min(longest));
                self.again = Some((Instant::now() + pause, pause));
                if again.is_none() {
                    output.warn("what was saved is not loaded yet; the version before answers");
                }
                return;
            }
            Loaded::Not => output.warn("no process of the application answers"),
        }
        if let Some(channel) = &mut self.channel {
            channel.publish();
        }
    }
}

/// A path as a person would write it here.
fn shown(path: &Path, folder: &Path) -> String {
    let path: PathBuf = path.strip_prefix(folder).unwrap_or(path).to_owned();
    path.display().to_string()
}

/// Writes as much as a process id beside a file, and removes it again.
fn try_to_write_beside(file: &Path) -> std::io::Result<()> {
    let file = file.with_extension("check");
    let written = std::fs::write(&file, "4194304\n");
    // It may be there, empty.
    let _ = std::fs::remove_file(&file);
    written
}
