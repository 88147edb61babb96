//! The request as a script sees it that is asked about it: its variables and its log. There is neither a
//! body to read nor an answer to send.
#![forbid(unsafe_code)]

use crate::config::Settings;
use crate::environ;
use crate::httpd::Request;
use std::ffi::c_void;
use std::ptr::NonNull;
use wsgi::{Environ, Exchange, Level, Output, ReadError, SendError};

/// The exchange of a script that does not answer the client.
pub(super) struct ScriptExchange<'r, 'call> {
    pub(super) request: &'r mut Request<'call>,
    pub(super) settings: &'r Settings<'r>,
    pub(super) environment: Environment,
}

/// Which variables a script gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Environment {
    /// Those of access control: of the request as it came.
    OfAccess,
    /// Those the application will get.
    OfApplication,
}

impl<'r, 'call> ScriptExchange<'r, 'call> {
    pub(super) const fn new(
        request: &'r mut Request<'call>,
        settings: &'r Settings<'r>,
        environment: Environment,
    ) -> Self {
        Self { request, settings, environment }
    }
}

impl Exchange for ScriptExchange<'_, '_> {
    fn environ(&mut self, environ: &mut dyn Environ) {
        match self.environment {
            Environment::OfAccess => environ::fill_for_access(self.request, environ),
            Environment::OfApplication => environ::fill(self.request, self.settings, environ),
        }
    }

    fn read(&mut self, _into: &mut [u8]) -> Result<usize, ReadError> {
        Ok(0)
    }

    fn send(&mut self, _output: Output<'_>) -> Result<(), SendError> {
        Err(SendError::Failed)
    }

    fn wants_body(&self) -> bool {
        false
    }

    fn cut(&mut self) {}

    fn log(&mut self, level: Level, line: &[u8]) {
        self.request.log(level, line);
    }

    fn is_encrypted(&self) -> bool {
        self.request.is_https()
    }

    fn tls_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.request.tls_variable(name).map(<[u8]>::to_vec)
    }

    fn native_request(&self) -> Option<NonNull<c_void>> {
        self.request.native().filter(|_| self.settings.pass_apache_request)
    }
}
