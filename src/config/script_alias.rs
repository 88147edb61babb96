//! A script alias: which URL leads to which script, in which groups. It never opens the script.

use group_config::Interface;
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use super::{Bytes, Pattern};

/// One alias as written.
#[derive(Debug)]
pub(crate) struct ScriptAlias {
    pub(crate) location: Location,
    /// A script, or a directory of scripts. For a pattern it may hold `$0` to `$9`.
    pub(crate) target: Bytes,
    /// Empty means embedded mode.
    pub(crate) process_group: Option<Bytes>,
    /// Empty means the main interpreter.
    pub(crate) application_group: Option<Bytes>,
    pub(crate) callable_object: Option<Bytes>,
    pub(crate) pass_authorization: Option<bool>,
    pub(crate) interface: Interface,
    /// What a request that came through the alias is marked with: the name of the handler, at an address
    /// that nothing else has.
    pub(crate) mark: CString,
}

/// What of the URL an alias stands for.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    Prefix(Bytes),
    Pattern(Arc<dyn Pattern>),
}

/// Where a URL path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped<'a> {
    /// The script, or the directory of scripts.
    pub(crate) target: Cow<'a, [u8]>,
    /// The rest of the URL path. If the target is a directory, a script's name is still in it.
    pub(crate) rest: &'a [u8],
}

impl ScriptAlias {
    /// The name of the handler for scripts of an interface.
    pub(crate) const fn handler(interface: Interface) -> &'static CStr {
        match interface {
            Interface::Wsgi | Interface::Auto => c"wsgi-script",
            Interface::Asgi => c"asgi-script",
        }
    }

    /// Where `uri` leads, if this alias is for it. `uri` is the decoded URL path.
    pub(crate) fn matches<'a>(&'a self, uri: &'a [u8]) -> Option<Mapped<'a>> {
        if !uri.starts_with(b"/") && !uri.is_empty() {
            return None;
        }
        let (matched, target) = match &self.location {
            Location::Prefix(prefix) => (prefix_length(uri, prefix)?, Cow::Borrowed(&*self.target)),
            Location::Pattern(pattern) => {
                let groups = pattern.find(uri)?;
                let whole = groups.first()?.as_ref()?;
                (whole.end, Cow::Owned(substitute(&self.target, uri, &groups)))
            }
        };
        if matched == 0 {
            return None;
        }
        // An alias for `/` alone keeps the slash, or a target that is a file would swallow the
        // path.
        let slash = match &self.location {
            Location::Prefix(prefix) => **prefix == *b"/",
            Location::Pattern(_) => uri[..matched] == *b"/",
        };
        let rest = if slash { uri } else { &uri[matched..] };
        Some(Mapped { target, rest })
    }
}

/// How much of `uri` the alias stands for (mod_alias: `alias_matches`): slashes in the alias stand
/// for one or more slashes in the URL, and the match ends where a path component ends.
fn prefix_length(uri: &[u8], alias: &[u8]) -> Option<usize> {
    let slashes = |text: &[u8]| text.iter().take_while(|byte| **byte == b'/').count();
    let (mut at, mut of) = (0, 0);
    while of < alias.len() {
        let (uri_slashes, alias_slashes) = (slashes(&uri[at..]), slashes(&alias[of..]));
        if alias_slashes > 0 && uri_slashes > 0 {
            at += uri_slashes;
            of += alias_slashes;
        } else if alias_slashes == 0 && uri.get(at) == Some(&alias[of]) {
            at += 1;
            of += 1;
        } else {
            return None;
        }
    }
    let at_boundary = alias.ends_with(b"/") || matches!(uri.get(at), None | Some(b'/'));
    at_boundary.then_some(at)
}

/// The target with `$0` to `$9` replaced (httpd 2.4: `ap_pregsub`). A backslash makes the next byte
/// an ordinary one; `&` is one always.
fn substitute(target: &[u8], uri: &[u8], groups: &[Option<Range<usize>>]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(target.len() + uri.len());
    let mut rest = target;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'$', [digit @ b'0'..=b'9', after @ ..]) => {
                let group = groups.get(usize::from(digit - b'0')).cloned().flatten();
                filled.extend_from_slice(group.and_then(|span| uri.get(span)).unwrap_or_default());
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                filled.push(*escaped);
                rest = after;
            }
            _ => filled.push(*byte),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::super::ServerConfig;
    use super::super::stub::configuration;
    use super::*;

    fn mapped(line: &str, uri: &str) -> Option<String> {
        let written = configuration(&[line]);
        let (_, mapped) = written.server.script_alias(uri.as_bytes())?;
        Some(path(&mapped))
    }

    fn path(mapped: &Mapped<'_>) -> String {
        String::from_utf8([&mapped.target, mapped.rest].concat()).unwrap()
    }

    #[test]
    fn an_alias_stands_for_whole_components_of_the_path() {
        for (alias, uri, expected) in [
            ("/ /srv/app.wsgi", "/", Some("/srv/app.wsgi/")),
            ("/ /srv/app.wsgi", "/page", Some("/srv/app.wsgi/page")),
            ("/ /srv/app.wsgi", "//page", Some("/srv/app.wsgi//page")),
            ("/ /srv/app.wsgi", "", None),
            ("/ /srv/app.wsgi", "*", None),
            ("/ /srv/app.wsgi", "http://host/", None),
            ("/app /srv/app.wsgi", "/app", Some("/srv/app.wsgi")),
            ("/app /srv/app.wsgi", "/app/", Some("/srv/app.wsgi/")),
            ("/app /srv/app.wsgi", "/app/page", Some("/srv/app.wsgi/page")),
            ("/app /srv/app.wsgi", "//app//page", Some("/srv/app.wsgi//page")),
            ("/app /srv/app.wsgi", "/apple", None),
            ("/app /srv/app.wsgi", "/ap", None),
            ("/app /srv/app.wsgi", "/", None),
            ("/app/ /srv/scripts/", "/app/", Some("/srv/scripts/")),
            ("/app/ /srv/scripts/", "/app/x.wsgi/y", Some("/srv/scripts/x.wsgi/y")),
            ("/app/ /srv/scripts/", "/app", None),
            ("/a//b /srv/app.wsgi", "/a/b", Some("/srv/app.wsgi")),
            ("/a/b /srv/app.wsgi", "/a///b/c", Some("/srv/app.wsgi/c")),
            ("/a/b /srv/app.wsgi", "/ab", None),
            ("/app app.wsgi", "/app/x", Some("/etc/apache2/app.wsgi/x")),
        ] {
            let line = format!("WSGIScriptAlias {alias}");
            assert_eq!(mapped(&line, uri).as_deref(), expected, "{line} for {uri}");
        }
    }

    #[test]
    fn a_pattern_fills_its_groups_into_the_target() {
        for (alias, uri, expected) in [
            ("^/site/([^/]+) /srv/$1/app.wsgi", "/site/a/b", Some("/srv/a/app.wsgi/b")),
            ("^/site/([^/]+) /srv/$1/app.wsgi", "/site/", None),
            ("^/site/([^/]+) /srv$0", "/site/a", Some("/srv/site/a")),
            ("^/site/([^/]+) /srv/$2x$9", "/site/a", Some("/srv/x")),
            (r"^/site/([^/]+) /srv/\$1&\&$x", "/site/a", Some("/srv/$1&&$x")),
            ("^/site/([^/]+) $0/app.wsgi", "/site/a/b", Some("/site/a/app.wsgi/b")),
            ("^/site/([^/]+) app/$1", "/site/a", Some("/etc/apache2/app/a")),
            ("^/ /srv/app.wsgi", "/page", Some("/srv/app.wsgi/page")),
            ("^ /srv/app.wsgi", "/page", None),
        ] {
            let line = format!("WSGIScriptAliasMatch {alias}");
            assert_eq!(mapped(&line, uri).as_deref(), expected, "{line} for {uri}");
        }
    }

    #[test]
    fn the_first_alias_wins_and_those_of_the_virtual_host_are_first() {
        let parent =
            configuration(&["WSGIScriptAlias /a /main", "WSGIScriptAlias /b /main"]).server;
        let child =
            configuration(&["WSGIScriptAlias /a /host", "WSGIScriptAlias /a/x /late"]).server;
        let merged = ServerConfig::merge(&parent, &child);
        for (uri, expected) in [("/a", "/host"), ("/a/x", "/host/x"), ("/b", "/main")] {
            let (_, mapped) = merged.script_alias(uri.as_bytes()).expect(uri);
            assert_eq!(path(&mapped), expected);
        }
        assert!(merged.script_alias(b"/c").is_none());
    }

    #[test]
    fn an_alias_is_known_by_its_own_mark_only() {
        let parent = configuration(&["WSGIScriptAlias /a /main"]).server;
        let child = configuration(&["WSGIScriptAlias /a /host"]).server;
        let merged = ServerConfig::merge(&parent, &child);
        for alias in &merged.script_aliases {
            let found = merged.marked(alias.mark.as_bytes());
            assert!(found.is_some_and(|found| Arc::ptr_eq(found, alias)));
        }
        assert!(parent.marked(child.script_aliases[0].mark.as_bytes()).is_none());
        assert!(merged.marked(b"wsgi-script").is_none());
    }
}
