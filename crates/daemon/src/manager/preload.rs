//! How a group starts its templates (`preload=On`), and what their ends mean for it.
#![forbid(unsafe_code)]

use super::group::Group;
use super::templates::{PATIENCE, Template};
use crate::launch::TemplateSeat;
use crate::message::{Channel, Report};
use crate::posix;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;
use wsgi::Level;

impl Group {
    /// Starts a template where one is missing; in the new process, gives its seat.
    pub(super) fn start_template(&mut self) -> Option<Box<TemplateSeat>> {
        let templates = &self.templates;
        let missing = templates.current.is_none() && templates.failures < PATIENCE;
        let wanted = missing || templates.outdated;
        let wanted = wanted && self.config.preload && !self.config.is_service() && !self.stopping;
        if !wanted || templates.incoming.is_some() || templates.not_before > Instant::now() {
            return None;
        }
        self.templates.outdated = false;
        let manager = std::process::id();
        posix::adopt_orphans();
        let started = Channel::pair().and_then(|pair| Ok((pair, posix::fork()?)));
        match started {
            Ok(((ours, _), Some(pid))) => {
                let template = Template { pid, channel: ours, started: Instant::now() };
                self.templates.incoming = Some(template);
                None
            }
            Ok(((_, channel), None)) => {
                // Everything else the manager holds is closed when it is dropped.
                let sockets = self.slots.iter_mut().map(|slot| slot.socket.take()).collect();
                Some(Box::new(TemplateSeat {
                    config: self.config.clone(),
                    log: self.log,
                    memory: self.memory.take(),
                    channel,
                    sockets,
                    shared: self.shared.take(),
                    scripts: std::mem::take(&mut self.scripts),
                    manager,
                }))
            }
            Err(why) => {
                self.say(Level::Critical, &format!("cannot start a template: {why}"));
                self.templates.fail();
                None
            }
        }
    }

    /// Newer code is to be served: there has to be a new template first.
    pub(super) fn renew_template(&mut self) {
        self.templates.outdated = self.config.preload;
    }

    /// The incoming template has something to say.
    pub(super) fn listen_to_template(&mut self) {
        let Some(template) = &mut self.templates.incoming else { return };
        let failed = match template.channel.receive::<Report>() {
            Ok(reports) => reports.into_iter().find_map(|report| match report {
                Report::Ready { failed } => Some(failed),
                _ => None,
            }),
            // Its death will be reported by the kernel.
            Err(_) => None,
        };
        let Some(failed) = failed else { return };
        let incoming = self.templates.incoming.take();
        if failed && self.templates.current.is_some() {
            drop(incoming);
            return self.give_up_replacing();
        }
        // The one before ends with its channel.
        self.templates.current = incoming;
        self.templates.failures = 0;
    }

    /// A process that is no worker has ended.
    pub(super) fn bury_template(&mut self, pid: i32, status: ExitStatus) {
        let is_it = |template: &mut Template| template.pid == pid;
        let current = self.templates.current.take_if(is_it);
        let incoming = self.templates.incoming.take_if(is_it);
        if current.is_none() && incoming.is_none() || self.stopping {
            return;
        }
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by signal {signal}"),
            (None, code) => format!("exited with status {}", code.unwrap_or(0)),
        };
        self.say(Level::Error, &format!("template {pid} (preload) {how}"));
        self.templates.fail();
        if incoming.is_some() && self.templates.current.is_some() {
            self.give_up_replacing();
        }
        if self.templates.failures == PATIENCE {
            self.say(Level::Error, "nothing is preloaded any more; workers import for themselves");
        }
    }
}
