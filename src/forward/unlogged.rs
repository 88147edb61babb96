//! Text of a worker's standard error that has yet to be logged. It must never know how many lines are logged at once.
#![forbid(unsafe_code)]

use super::response_body::ResponseBody;
use crate::apr::Brigade;
use crate::httpd::Request;

/// The text of one record, of which so many bytes have been logged.
#[derive(Default)]
pub(super) struct Unlogged {
    text: Vec<u8>,
    logged: usize,
}

impl Unlogged {
    pub(super) const fn new(text: Vec<u8>) -> Self {
        Self { text, logged: 0 }
    }

    /// Logs the next line; whether anything was left.
    pub(super) fn log_line<'call>(
        &mut self,
        request: &Request<'call>,
        body: &mut ResponseBody<'_, Brigade<'call>>,
    ) -> bool {
        let left = self.text.get(self.logged..).unwrap_or_default();
        if left.is_empty() {
            // An idle stream costs no memory.
            *self = Self::default();
            return false;
        }
        self.logged += body.log_line_of_errors(request, left);
        true
    }
}
