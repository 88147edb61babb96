//! Requests for which a daemon process is given up (`request-timeout`): where their threads are is logged.
#![forbid(unsafe_code)]

use crate::host::Host;
use crate::observe::slow::{HANGING, report, report_task};
use std::time::Duration;

impl Host {
    /// Logs of every request that has taken longer than `limit` where its thread is, once. Waits for the lock of its
    /// interpreter.
    pub fn report_hanging_requests(&self, limit: Duration) {
        let Some(_look) = self.guard_look() else { return };
        for thread in self.activity.threads() {
            if let Some(hanging) = thread.take_hanging_request(limit) {
                report(&thread, &hanging, &HANGING, &self.log);
            }
        }
        let requests = &self.activity.loop_requests;
        for hanging in requests.take_hanging(limit) {
            report_task(requests, &hanging, &HANGING, &self.log);
        }
    }
}
