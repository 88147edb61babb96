//! Early hints of an application on their way to the client. It must never know the response that they precede.
#![forbid(unsafe_code)]

use super::connection_error::ConnectionError;
use super::relay_error::malformed;
use crate::httpd::Request;
use fastcgi::Interim;
use wsgi::ResponseHead;

/// Early hints that a client gets at most for one request: the memory of the request keeps them.
const MAX_HINTS: u32 = 16;

/// Those of one request: how many the client has got.
#[derive(Default)]
pub(super) struct EarlyHints(u32);

impl EarlyHints {
    /// Passes values of `Link` on, before the response. They come from the application as the response does, and are
    /// checked as its headers are.
    ///
    /// # Errors
    /// Where one of them is no value of a header.
    pub(super) fn pass(
        &mut self,
        request: &mut Request<'_>,
        links: &[u8],
    ) -> Result<(), ConnectionError> {
        self.0 += 1;
        if self.0 > MAX_HINTS || !request.takes_interim_responses() {
            return Ok(());
        }
        let hints = Interim::EarlyHints(links);
        let mut checked = ResponseHead::new();
        hints
            .links()
            .try_for_each(|link| checked.push(b"Link", link))
            .map_err(|why| malformed(&why))?;
        if hints.links().next().is_some() {
            request.send_early_hints(hints.links());
        }
        Ok(())
    }
}
