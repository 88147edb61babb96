//! What was written for a place: a server, a directory, a URL, a `.htaccess` file. It never knows a
//! default.

use std::sync::Arc;

use super::error::quoted;
use super::options::global_is_empty;
use super::suggestion::did_you_mean;
use super::{Bytes, ConfigError, HandlerScript, Line, ProxyHeader, Script, Subnet};

/// The settings of one place, as written. Apache merges them for each request that a section
/// applies to, so every clone is a reference count.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DirectoryConfig {
    /// The process groups that may be chosen here; the empty name is embedded mode.
    pub(crate) restrict_process: Option<Arc<[Bytes]>>,
    pub(crate) process_group: Option<Bytes>,
    pub(crate) application_group: Option<Bytes>,
    pub(crate) callable_object: Option<Bytes>,
    pub(crate) dispatch_script: Option<Arc<Script>>,
    pub(crate) pass_apache_request: Option<bool>,
    pub(crate) pass_authorization: Option<bool>,
    pub(crate) script_reloading: Option<ScriptReloading>,
    pub(crate) error_override: Option<bool>,
    pub(crate) chunked_request: Option<bool>,
    pub(crate) map_head_to_get: Option<MapHead>,
    pub(crate) ignore_activity: Option<bool>,
    pub(crate) status_request_lines: Option<RequestLines>,
    pub(crate) trusted_proxy_headers: Option<Arc<[ProxyHeader]>>,
    pub(crate) trusted_proxies: Option<Arc<[Subnet]>>,
    pub(crate) enable_sendfile: Option<bool>,
    pub(crate) access_script: Option<Arc<Script>>,
    pub(crate) auth_user_script: Option<Arc<Script>>,
    pub(crate) auth_group_script: Option<Arc<Script>>,
    /// At most one of each name.
    pub(crate) handler_scripts: Option<Arc<[HandlerScript]>>,
}

/// `WSGIScriptReloading`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScriptReloading {
    Off,
    /// In daemon mode old code answers until the new processes are ready.
    On,
    /// In daemon mode requests wait for the new processes.
    Wait,
}

impl ScriptReloading {
    /// Whether a changed script is noticed.
    pub(crate) fn is_on(self) -> bool {
        self != Self::Off
    }
}

/// `WSGIMapHEADToGET`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapHead {
    Off,
    On,
    /// Only where an output filter needs to see the body.
    Auto,
}

/// `WSGIStatusRequestLines`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestLines {
    /// Requests that are being served are counted only.
    Off,
    /// Method and path are shown.
    Path,
    /// The query string is shown as well.
    Full,
}

impl DirectoryConfig {
    /// The inner section's value where it has one, else the outer one's. Lists replace each other
    /// whole; handler scripts are united by name.
    pub(crate) fn merge(parent: &Self, child: &Self) -> Self {
        // Naming every field makes a forgotten one a compile error.
        let Self {
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
            status_request_lines,
            trusted_proxy_headers,
            trusted_proxies,
            enable_sendfile,
            access_script,
            auth_user_script,
            auth_group_script,
            handler_scripts,
        } = child;
        Self {
            restrict_process: inherit(restrict_process, &parent.restrict_process),
            process_group: inherit(process_group, &parent.process_group),
            application_group: inherit(application_group, &parent.application_group),
            callable_object: inherit(callable_object, &parent.callable_object),
            dispatch_script: inherit(dispatch_script, &parent.dispatch_script),
            pass_apache_request: pass_apache_request.or(parent.pass_apache_request),
            pass_authorization: pass_authorization.or(parent.pass_authorization),
            script_reloading: script_reloading.or(parent.script_reloading),
            error_override: error_override.or(parent.error_override),
            chunked_request: chunked_request.or(parent.chunked_request),
            map_head_to_get: map_head_to_get.or(parent.map_head_to_get),
            ignore_activity: ignore_activity.or(parent.ignore_activity),
            status_request_lines: status_request_lines.or(parent.status_request_lines),
            trusted_proxy_headers: inherit(trusted_proxy_headers, &parent.trusted_proxy_headers),
            trusted_proxies: inherit(trusted_proxies, &parent.trusted_proxies),
            enable_sendfile: enable_sendfile.or(parent.enable_sendfile),
            access_script: inherit(access_script, &parent.access_script),
            auth_user_script: inherit(auth_user_script, &parent.auth_user_script),
            auth_group_script: inherit(auth_group_script, &parent.auth_group_script),
            handler_scripts: unite(handler_scripts, &parent.handler_scripts),
        }
    }

    /// The script that is the handler `name`, if there is one.
    pub(crate) fn handler_script(&self, name: &[u8]) -> Option<&HandlerScript> {
        self.handler_scripts.as_ref()?.iter().find(|script| *script.name == *name)
    }
}

fn inherit<T: ?Sized>(child: &Option<Arc<T>>, parent: &Option<Arc<T>>) -> Option<Arc<T>> {
    child.as_ref().or(parent.as_ref()).cloned()
}

fn unite(
    child: &Option<Arc<[HandlerScript]>>,
    parent: &Option<Arc<[HandlerScript]>>,
) -> Option<Arc<[HandlerScript]>> {
    let (Some(inner), Some(outer)) = (child, parent) else { return inherit(child, parent) };
    let hidden = |script: &&HandlerScript| inner.iter().any(|other| other.name == script.name);
    Some(inner.iter().chain(outer.iter().filter(|script| !hidden(script))).cloned().collect())
}

/// `WSGIRestrictProcess`: the list of one line; the last line of a place counts.
pub(super) fn set_restrict_process(
    directory: &mut DirectoryConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let mut words = line.words();
    let names = std::iter::from_fn(|| words.next_word());
    directory.restrict_process = Some(names.map(|name| global_is_empty(&name)).collect());
    Ok(())
}

/// `WSGITrustedProxyHeaders`: lines of one place add up.
pub(super) fn add_trusted_proxy_headers(
    directory: &mut DirectoryConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let mut words = line.words();
    let mut headers = Vec::new();
    while let Some(name) = words.next_word() {
        match ProxyHeader::parse(&name) {
            Some(header) => headers.push(header),
            None => line.context.warn(&format!(
                "{} ignores {}, which is not one of{}: {}",
                line.name(),
                quoted(&name),
                did_you_mean(&name, ProxyHeader::ALL.map(ProxyHeader::name)),
                ProxyHeader::ALL.map(ProxyHeader::name).join(", ")
            )),
        }
    }
    append(&mut directory.trusted_proxy_headers, headers);
    Ok(())
}

/// `WSGITrustedProxies`: lines of one place add up.
pub(super) fn add_trusted_proxies(
    directory: &mut DirectoryConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let mut words = line.words();
    let mut subnets = Vec::new();
    while let Some(word) = words.next_word() {
        subnets.push(Subnet::parse(&word).ok_or_else(|| {
            line.error(format_args!(
                "cannot take {} for the address of a trusted proxy; it takes IPv4 and IPv6 \
                 addresses and networks such as 10.1.2.3, 10.0.0.0/8, 10.0.0.0/255.0.0.0 or \
                 fd00::/8",
                quoted(&word)
            ))
        })?);
    }
    append(&mut directory.trusted_proxies, subnets);
    Ok(())
}

fn append<T: Clone>(list: &mut Option<Arc<[T]>>, more: Vec<T>) {
    *list = Some(list.iter().flat_map(|list| list.iter()).cloned().chain(more).collect());
}

/// `WSGIHandlerScript`: a name defined again is replaced.
pub(super) fn add_handler_script(
    directory: &mut DirectoryConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    let script = Some(Arc::from([HandlerScript::parse(line)?]));
    directory.handler_scripts = unite(&script, &directory.handler_scripts);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Configuration, configuration};
    use super::*;

    fn written(lines: &[&str]) -> DirectoryConfig {
        configuration(lines).directory
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn a_child_setting_wins_and_an_unset_one_is_inherited() {
        let all = [
            "WSGIRestrictProcess a",
            "WSGIProcessGroup a",
            "WSGIApplicationGroup a",
            "WSGICallableObject a",
            "WSGIDispatchScript /a",
            "WSGIPassApacheRequest On",
            "WSGIPassAuthorization On",
            "WSGIScriptReloading On",
            "WSGIErrorOverride On",
            "WSGIChunkedRequest On",
            "WSGIMapHEADToGET On",
            "WSGIIgnoreActivity On",
            "WSGITrustedProxyHeaders X-Forwarded-For",
            "WSGITrustedProxies 10.0.0.1",
            "WSGIEnableSendfile On",
            "WSGIAccessScript /a",
            "WSGIAuthUserScript /a",
            "WSGIAuthGroupScript /a",
            "WSGIHandlerScript a /a",
        ];
        let other = all.map(|line| {
            let line = line.replace("X-Forwarded-For", "X-Real-IP").replace("10.0.0.1", "10.0.0.2");
            line.replace(" On", " Off")
                .replace(" /a", " /b")
                .replace(" a", " b")
                .replace("b /b", "a /b")
        });
        let nothing = DirectoryConfig::default();
        let parent = written(&all);
        let child = written(&other.each_ref().map(String::as_str));
        assert_ne!(parent, child);
        assert_eq!(DirectoryConfig::merge(&parent, &nothing), parent);
        assert_eq!(DirectoryConfig::merge(&nothing, &child), child);
        assert_eq!(DirectoryConfig::merge(&parent, &child), child);
        for line in all {
            let one = written(&[line]);
            assert_ne!(one, nothing, "{line}");
            assert_eq!(DirectoryConfig::merge(&one, &nothing), one, "{line}");
        }
    }

    #[test]
    fn handler_scripts_are_united_by_name() {
        let parent = written(&["WSGIHandlerScript a /outer", "WSGIHandlerScript b /outer"]);
        let child = written(&["WSGIHandlerScript b /inner", "WSGIHandlerScript c /inner"]);
        let merged = DirectoryConfig::merge(&parent, &child).handler_scripts.unwrap();
        let mut found: Vec<_> =
            merged.iter().map(|script| [&script.name[..], &script.path].concat()).collect();
        found.sort_unstable();
        assert_eq!(found, [&b"a/outer"[..], b"b/inner", b"c/inner"]);
        let again = written(&["WSGIHandlerScript a /1", "WSGIHandlerScript a /2"]);
        assert_eq!(&*again.handler_scripts.unwrap()[0].path, b"/2");
    }

    #[test]
    fn proxies_of_one_place_add_up_and_a_list_of_groups_is_replaced() {
        let lists = written(&[
            "WSGITrustedProxies 10.0.0.1 10.1.0.0/16",
            "WSGITrustedProxies ::1",
            "WSGITrustedProxyHeaders x-forwarded-for X_REAL_IP",
            "WSGITrustedProxyHeaders X-Forwarded-Proto",
            "WSGIRestrictProcess a b",
            "WSGIRestrictProcess %{GLOBAL} c",
        ]);
        assert_eq!(lists.trusted_proxies.unwrap().len(), 3);
        assert_eq!(
            lists.trusted_proxy_headers.unwrap()[..],
            [ProxyHeader::ForwardedFor, ProxyHeader::RealIp, ProxyHeader::ForwardedProto]
        );
        let groups = lists.restrict_process.unwrap();
        assert_eq!(groups.iter().map(|it| &**it).collect::<Vec<_>>(), [&b""[..], b"c"]);
    }

    #[test]
    fn an_unknown_proxy_header_is_ignored_with_a_warning() {
        let read = configuration(&["WSGITrustedProxyHeaders Forwarded X-Host"]);
        let headers = read.directory.trusted_proxy_headers.as_ref().unwrap();
        assert_eq!(headers[..], [ProxyHeader::Host]);
        let [warning] = read.warnings().try_into().unwrap();
        assert!(warning.starts_with(
            "WSGITrustedProxyHeaders ignores \"Forwarded\", which is not one of: x-forwarded-for, "
        ));
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        for word in ["localhost", "10.0.0.0/99", "*"] {
            let line = format!("WSGITrustedProxies 10.0.0.1 {word}");
            let sentence = Configuration::default().refusal(&line);
            let expected = format!(
                "WSGITrustedProxies cannot take \"{word}\" for the address of a trusted proxy; "
            );
            assert!(sentence.starts_with(&expected), "{sentence}");
        }
    }

    #[test]
    fn a_merge_copies_no_text() {
        let parent = written(&["WSGIApplicationGroup a"]);
        let merged = DirectoryConfig::merge(&parent, &DirectoryConfig::default());
        let (before, after) =
            (parent.application_group.unwrap(), merged.application_group.unwrap());
        assert!(Arc::ptr_eq(&before, &after));
    }
}
