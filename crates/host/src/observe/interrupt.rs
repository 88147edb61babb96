//! Interrupting requests that take too long: `mod_wsgi.RequestTimeout` is raised in their thread, wherever
//! its Python code is (`interrupt-timeout`). Code that waits in C gets it when it returns to Python. A request of an event
//! loop has no thread: its task is cancelled.
#![forbid(unsafe_code)]

use crate::host::Host;
use crate::observe::activity::Thread;
use crate::observe::loop_requests::LoopRequest;
use crate::observe::slow::{INTERRUPTED, report_task, stack};
use std::time::Duration;
use wsgi::Level;

impl Host {
    /// Interrupts every request that has taken longer than `limit`, once.
    pub fn interrupt_requests(&self, limit: Duration) {
        let Some(_look) = self.guard_look() else { return };
        for (number, thread) in self.activity.threads().iter().enumerate() {
            self.interrupt(number, thread, limit);
        }
        for late in self.activity.loop_requests.take_overdue(limit) {
            self.cancel(&late);
        }
    }

    /// Has the task of a request cancelled, and says in its log where it was.
    fn cancel(&self, late: &LoopRequest) {
        let requests = &self.activity.loop_requests;
        report_task(requests, late, &INTERRUPTED, &self.log);
        if let Some(attachment) = late.interpreter.attach() {
            requests.interrupt(late, &attachment);
        }
    }

    fn interrupt(&self, number: usize, thread: &Thread, limit: Duration) {
        let Some(late) = thread.take_overdue_request(limit) else { return };
        let Some(attachment) = late.interpreter.attach() else { return };
        let lines = stack(&late, &attachment).unwrap_or_default();
        let py = attachment.py();
        let request_timeout = late.interpreter.state.request_timeout(py);
        let interrupted = thread.while_serving(&late, || {
            thread.note_interrupt();
            py.interrupt(late.ident, Some(&request_timeout));
        });
        if interrupted.is_none() {
            return;
        }
        drop(request_timeout);
        drop(attachment);
        let seconds = late.since.elapsed().as_secs_f64();
        let place = if lines.is_empty() { "" } else { "; its thread was here:" };
        let first = format!("{} is interrupted after {seconds:.3} s{place}", late.line);
        let group = &self.options.process_group;
        let injected =
            format!("Injected RequestTimeout into thread {number} of daemon process '{group}'.");
        for line in std::iter::once(first).chain(lines).chain(std::iter::once(injected)) {
            self.log.log(Level::Info, format!("[script {}] {line}", late.script).as_bytes());
        }
    }
}
