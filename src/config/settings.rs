//! The settings that hold for one request, every default applied. It never knows where they were
//! written.

use group_config::Interface;

use super::{
    Bytes, DirectoryConfig, HandlerScript, MapHead, ProxyHeader, Script, ScriptAlias,
    ScriptReloading, Subnet,
};

/// What one request is served by. Borrowed from the merged config: making it costs no allocation.
/// The defaults of [`DirectoryConfig`] stand here and nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    /// Not yet expanded; empty means embedded mode.
    pub(crate) process_group: &'a [u8],
    /// Not yet expanded; empty means the main interpreter.
    pub(crate) application_group: &'a [u8],
    /// Not yet expanded.
    pub(crate) callable_object: &'a [u8],
    /// `None`: nothing is dispatched.
    pub(crate) dispatch_script: Option<&'a Script>,
    pub(crate) pass_apache_request: bool,
    pub(crate) pass_authorization: bool,
    pub(crate) script_reloading: ScriptReloading,
    pub(crate) error_override: bool,
    pub(crate) chunked_request: bool,
    pub(crate) map_head_to_get: MapHead,
    pub(crate) ignore_activity: bool,
    pub(crate) trusted_proxy_headers: &'a [ProxyHeader],
    /// `None`: every peer is trusted, as no proxy is named.
    pub(crate) trusted_proxies: Option<&'a [Subnet]>,
    pub(crate) enable_sendfile: bool,
    pub(crate) access_script: Option<&'a Script>,
    pub(crate) auth_user_script: Option<&'a Script>,
    pub(crate) auth_group_script: Option<&'a Script>,
    /// The script whose handler was named, in place of the file that the URL means.
    pub(crate) handler_script: Option<&'a HandlerScript>,
    /// What the application is called by.
    pub(crate) interface: Interface,
    /// `None`: every process group may be chosen.
    restrict_process: Option<&'a [Bytes]>,
}

/// What a dispatch script has chosen for one request; what it left open stays as configured. Not yet
/// expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dispatched {
    pub(crate) process_group: Option<Vec<u8>>,
    pub(crate) application_group: Option<Vec<u8>>,
    pub(crate) callable_object: Option<Vec<u8>>,
}

/// A dispatch script has not said where a request is to run. It has been logged.
#[derive(Debug)]
pub(crate) struct NotDispatched;

impl<'a> Settings<'a> {
    pub(crate) fn resolve(config: &'a DirectoryConfig) -> Self {
        let DirectoryConfig {
            restrict_process,
            process_group,
            application_group,
            callable_object,
            dispatch_script,
            pass_apache_request,
            pass_authorization,
            script_reloading,
            error_override,
            chunked_request,
            map_head_to_get,
            ignore_activity,
            status_request_lines: _,
            trusted_proxy_headers,
            trusted_proxies,
            enable_sendfile,
            access_script,
            auth_user_script,
            auth_group_script,
            handler_scripts: _,
        } = config;
        Self {
            process_group: process_group.as_deref().unwrap_or(b""),
            application_group: application_group.as_deref().unwrap_or(b"%{RESOURCE}"),
            callable_object: callable_object.as_deref().unwrap_or(b"application"),
            dispatch_script: dispatch_script.as_deref(),
            pass_apache_request: pass_apache_request.unwrap_or(false),
            pass_authorization: pass_authorization.unwrap_or(false),
            script_reloading: script_reloading.unwrap_or(ScriptReloading::On),
            error_override: error_override.unwrap_or(false),
            chunked_request: chunked_request.unwrap_or(false),
            map_head_to_get: map_head_to_get.unwrap_or(MapHead::Auto),
            ignore_activity: ignore_activity.unwrap_or(false),
            trusted_proxy_headers: trusted_proxy_headers.as_deref().unwrap_or_default(),
            trusted_proxies: trusted_proxies.as_deref(),
            enable_sendfile: enable_sendfile.unwrap_or(false),
            access_script: access_script.as_deref(),
            auth_user_script: auth_user_script.as_deref(),
            auth_group_script: auth_group_script.as_deref(),
            handler_script: None,
            interface: Interface::Wsgi,
            restrict_process: restrict_process.as_deref(),
        }
    }

    /// The same for a request that came through `alias`: what the alias says wins.
    pub(crate) fn with_alias(self, alias: &'a ScriptAlias) -> Self {
        Self {
            process_group: alias.process_group.as_deref().unwrap_or(self.process_group),
            application_group: alias.application_group.as_deref().unwrap_or(self.application_group),
            callable_object: alias.callable_object.as_deref().unwrap_or(self.callable_object),
            pass_authorization: alias.pass_authorization.unwrap_or(self.pass_authorization),
            ..self.of_interface(alias.interface)
        }
    }

    /// The same for an application of this interface. One of ASGI gets bodies of any length, and requests as they are;
    /// so does one whose interface its worker alone knows.
    pub(crate) fn of_interface(self, interface: Interface) -> Self {
        match interface {
            Interface::Wsgi => self,
            Interface::Asgi | Interface::Auto => {
                Self { interface, map_head_to_get: MapHead::Off, chunked_request: true, ..self }
            }
        }
    }

    /// The same for a request that is served by `script`: what its line says wins, and its callable
    /// has one name.
    pub(crate) fn served_by(self, script: &'a HandlerScript) -> Self {
        Self {
            process_group: script.process_group.as_deref().unwrap_or(self.process_group),
            application_group: script
                .application_group
                .as_deref()
                .unwrap_or(self.application_group),
            callable_object: b"handle_request",
            pass_authorization: script.pass_authorization.unwrap_or(self.pass_authorization),
            handler_script: Some(script),
            ..self
        }
    }

    /// The answer to a request whose script cannot be run, which would be `status`: no URL leads to the
    /// script of a handler, so that it is missing is no fault of the client's.
    pub(crate) fn error_status(&self, status: u16) -> u16 {
        if status == 404 && self.handler_script.is_some() { 500 } else { status }
    }

    /// The same for a request about which a dispatch script was asked: what it chose wins.
    pub(crate) fn dispatched(self, chosen: &'a Dispatched) -> Self {
        Self {
            process_group: chosen.process_group.as_deref().unwrap_or(self.process_group),
            application_group: chosen
                .application_group
                .as_deref()
                .unwrap_or(self.application_group),
            callable_object: chosen.callable_object.as_deref().unwrap_or(self.callable_object),
            ..self
        }
    }

    /// Whether `WSGIRestrictProcess` lets a request go to the (expanded) group. Names have no case
    /// here.
    pub(crate) fn allows_process_group(&self, group: &[u8]) -> bool {
        let Some(allowed) = self.restrict_process else { return true };
        allowed.iter().any(|name| name.eq_ignore_ascii_case(group))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::configuration;
    use super::*;

    #[test]
    fn what_nobody_wrote_has_mod_wsgis_default() {
        let nothing = DirectoryConfig::default();
        let settings = Settings::resolve(&nothing);
        assert_eq!(settings.process_group, b"");
        assert_eq!(settings.application_group, b"%{RESOURCE}");
        assert_eq!(settings.callable_object, b"application");
        assert_eq!(settings.script_reloading, ScriptReloading::On);
        assert!(!settings.pass_authorization && !settings.pass_apache_request);
        assert!(!settings.error_override && !settings.chunked_request);
        assert!(!settings.ignore_activity && !settings.enable_sendfile);
        assert_eq!(settings.map_head_to_get, MapHead::Auto);
        assert!(settings.trusted_proxies.is_none() && settings.trusted_proxy_headers.is_empty());
        assert!(settings.allows_process_group(b"") && settings.allows_process_group(b"any"));
    }

    #[test]
    fn a_restriction_names_what_is_allowed_in_any_case() {
        let written = configuration(&["WSGIRestrictProcess Site %{GLOBAL}"]).directory;
        let settings = Settings::resolve(&written);
        for (group, allowed) in [("site", true), ("SITE", true), ("", true), ("other", false)] {
            assert_eq!(settings.allows_process_group(group.as_bytes()), allowed, "{group}");
        }
        let written = configuration(&["WSGIRestrictProcess site"]).directory;
        assert!(!Settings::resolve(&written).allows_process_group(b""));
    }

    #[test]
    fn what_the_alias_says_wins_over_the_directory() {
        let written = configuration(&[
            "WSGIApplicationGroup directory",
            "WSGICallableObject directory",
            "WSGIPassAuthorization On",
            "WSGIScriptAlias /a /a application-group=%{GLOBAL} pass-authorization=Off",
        ]);
        let settings = Settings::resolve(&written.directory);
        let through = settings.with_alias(&written.server.script_aliases[0]);
        assert_eq!(through.application_group, b"");
        assert_eq!(through.callable_object, b"directory");
        assert!(!through.pass_authorization && settings.pass_authorization);
    }

    #[test]
    fn what_a_dispatch_script_chose_wins_and_the_rest_stays() {
        let written = configuration(&["WSGIProcessGroup site", "WSGICallableObject app"]).directory;
        let chosen = Dispatched {
            process_group: Some(Vec::new()),
            application_group: Some(b"%{SERVER}".to_vec()),
            callable_object: None,
        };
        let settings = Settings::resolve(&written).dispatched(&chosen);
        assert_eq!((settings.process_group, settings.callable_object), (&b""[..], &b"app"[..]));
        assert_eq!(settings.application_group, b"%{SERVER}");
    }

    #[test]
    fn a_handler_script_has_its_own_groups_and_one_callable() {
        let written = configuration(&[
            "WSGICallableObject directory",
            "WSGIApplicationGroup directory",
            "WSGIHandlerScript mine /h.wsgi application-group=script",
        ]);
        let settings = Settings::resolve(&written.directory);
        assert!(written.directory.handler_script(b"other").is_none());
        assert!(settings.handler_script.is_none());
        assert_eq!(settings.error_status(404), 404);
        let script = written.directory.handler_script(b"mine").expect("it is there");
        let served = settings.served_by(script);
        assert_eq!(served.handler_script, Some(script));
        assert_eq!(served.callable_object, b"handle_request");
        assert_eq!(served.application_group, b"script");
        assert_eq!(served.process_group, b"");
        assert_eq!([404, 403, 500].map(|status| served.error_status(status)), [500, 403, 500]);
    }
}
