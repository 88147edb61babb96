//! How a group starts its templates (`preload=On`), and what it does when one has exited.
#![forbid(unsafe_code)]

use super::failure_cause::with_cause;
use super::group::Group;
use super::start::become_child;
use super::templates::{MAX_START_FAILURES, Template};
use crate::launch::TemplateStart;
use crate::log::Log;
use crate::message::{Channel, Report};
use crate::time_limit;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;
use wsgi::Level;

impl Group {
    /// Starts a template where one is missing; in the new process, gives what it starts with.
    pub(super) fn start_template(&mut self) -> Option<Box<TemplateStart>> {
        let templates = &self.templates;
        let missing = templates.current.is_none() && templates.failures < MAX_START_FAILURES;
        let wanted = missing || templates.outdated;
        let wanted = wanted && self.config.preload && !self.config.is_service() && !self.stopping;
        if !wanted || templates.incoming.is_some() || templates.not_before > Instant::now() {
            return None;
        }
        self.templates.outdated = false;
        let manager = std::process::id();
        sys::become_subreaper();
        let started =
            Channel::pair().and_then(|pair| Ok((pair, self.output_pipe()?.unzip(), sys::fork()?)));
        match started {
            Ok(((ours, _), (output, _), Some(pid))) => {
                if let Some(output) = output {
                    self.outputs.add(pid, output);
                }
                let template = Template { pid, channel: ours, started: Instant::now() };
                self.templates.incoming = Some(template);
                None
            }
            Ok(((_, channel), (_, writer), None)) => {
                become_child(writer);
                // The rest of the manager's state, with all descriptors, is dropped in the new process.
                let sockets = self.slots.iter_mut().map(|slot| slot.socket.take()).collect();
                Some(Box::new(TemplateStart {
                    config: self.config.clone(),
                    log: Log::of_worker(&self.config, self.memory.board),
                    memory: self.memory.take(),
                    channel,
                    sockets,
                    shared: std::mem::take(&mut self.shared),
                    queue: self.queue.take(),
                    scripts: std::mem::take(&mut self.scripts),
                    manager,
                }))
            }
            Err(why) => {
                self.log(Level::Critical, &format!("cannot start a template: {why}"));
                self.templates.note_failure();
                None
            }
        }
    }

    /// There is newer code: has a new template started before the workers with it.
    pub(super) fn renew_template(&mut self) {
        self.templates.outdated = self.config.preload;
    }

    /// The template that starts has sent a message, or closed its channel.
    pub(super) fn handle_template_message(&mut self) {
        let Some(template) = &mut self.templates.incoming else { return };
        let failed = match template.channel.receive::<Report>() {
            Ok(reports) => reports.into_iter().find_map(|report| match report {
                Report::Ready { failed } => Some(failed),
                _ => None,
            }),
            // The template has exited, which `reap` finds.
            Err(_) => None,
        };
        let Some(failed) = failed else { return };
        let incoming = self.templates.incoming.take();
        if failed && self.templates.current.is_some() {
            let pid = incoming.map(|template| template.pid).unwrap_or_default();
            let why = self.load_failure("the template (preload)", pid);
            return self.abort_replacement(&why);
        }
        // The template before it exits when its channel is closed.
        self.templates.current = incoming;
        self.templates.failures = 0;
    }

    /// A child that is no worker has exited: perhaps a template. `cause`: what it has said about its end.
    pub(super) fn handle_template_exit(
        &mut self,
        pid: i32,
        status: ExitStatus,
        cause: Option<&str>,
    ) {
        let is_it = |template: &mut Template| template.pid == pid;
        let startup = time_limit::enabled(self.config.timers.startup_timeout);
        let is_overdue = self.templates.is_overdue(startup);
        let current = self.templates.current.take_if(is_it);
        let incoming = self.templates.incoming.take_if(is_it);
        if current.is_none() && incoming.is_none() || self.stopping {
            return;
        }
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by signal {signal}"),
            (None, code) => format!("exited with status {}", code.unwrap_or(0)),
        };
        self.log(Level::Error, &format!("template {pid} (preload) {how}"));
        self.templates.note_failure();
        if incoming.is_some() && self.templates.current.is_some() {
            let why = with_cause(&format!("template {pid} (preload) {how}"), cause);
            if !is_overdue {
                return self.abort_replacement(&why);
            }
            self.templates.outdated = true;
            return self.postpone_replacement(&why);
        }
        if self.templates.failures == MAX_START_FAILURES {
            self.log(
                Level::Error,
                "preload disabled after 3 failures; workers import the application themselves",
            );
        }
    }
}
