//! What a request says about itself where the name of a group or a callable refers to it (mod_wsgi's
//! reference, section 1.5).
#![forbid(unsafe_code)]

use crate::config::Names;
use crate::httpd::Request;
use crate::request_path::split_path;
use std::borrow::Cow;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// A request's answers.
pub(crate) struct RequestNames<'a, 'call> {
    request: &'a Request<'call>,
    script_name: Cow<'a, [u8]>,
}

impl<'a, 'call> RequestNames<'a, 'call> {
    /// `case_sensitive`: whether file names have case.
    pub(crate) fn of(request: &'a Request<'call>, case_sensitive: bool) -> Self {
        let (script_name, _) = split_path(request.uri(), request.path_info());
        let script_name =
            if case_sensitive { script_name } else { Cow::Owned(script_name.to_ascii_lowercase()) };
        Self { request, script_name }
    }
}

impl Names for RequestNames<'_, '_> {
    fn server_name(&self) -> &[u8] {
        self.request.server().name().unwrap_or_default()
    }

    /// The port the client named, where a listener of this server has it; else the configured one. A port out of a Host
    /// header on which no server listens would make an interpreter of its own for each number a client tries.
    fn server_port(&self) -> u16 {
        let named = self.request.server_port_for_url();
        let configured = self.request.server().port();
        if named == configured || named == self.request.local_address().1 {
            return named;
        }
        match configured {
            0 if self.request.scheme() == b"https" => 443,
            0 => 80,
            port => port,
        }
    }

    fn host_name(&self) -> Option<&[u8]> {
        self.request.host_name()
    }

    fn script_name(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.script_name)
    }

    fn env(&self, variable: &[u8]) -> Option<Cow<'_, [u8]>> {
        let name = CString::new(variable).ok()?;
        let found = self
            .request
            .notes()
            .get(&name)
            .or_else(|| self.request.subprocess_env().get(&name))
            .map(Cow::Borrowed);
        found.or_else(|| {
            use std::os::unix::ffi::OsStringExt;
            let value = std::env::var_os(OsStr::from_bytes(variable))?;
            Some(Cow::Owned(value.into_vec()))
        })
    }
}
