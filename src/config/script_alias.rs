//! `WSGIScriptAlias` and `WSGIScriptAliasMatch`: which URL leads to which script, in which groups.
//! It never opens the script.

use std::borrow::Cow;
use std::ffi::CString;
use std::ops::Range;
use std::sync::Arc;

use super::error::quoted;
use super::options::Options;
use super::process_group::reachable;
use super::{
    Bytes, ConfigError, ImportScript, Line, Pattern, ProcessConfig, ServerConfig, ServerIdentity,
};

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

/// `WSGIScriptAlias`
pub(super) fn add_script_alias(
    server: &mut ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    add(server, process, line, |prefix| Ok(Location::Prefix(prefix.into())))
}

/// `WSGIScriptAliasMatch`
pub(super) fn add_script_alias_match(
    server: &mut ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
) -> Result<(), ConfigError> {
    add(server, process, line, |pattern| match line.surroundings.compile(pattern) {
        Some(compiled) => Ok(Location::Pattern(compiled)),
        None => Err(line.error(format_args!(
            "has {}, which could not be compiled as a regular expression",
            quoted(pattern)
        ))),
    })
}

fn add(
    server: &mut ServerConfig,
    process: &mut ProcessConfig,
    line: &Line<'_>,
    locate: impl FnOnce(&[u8]) -> Result<Location, ConfigError>,
) -> Result<(), ConfigError> {
    let alias = parse(line, locate)?;
    if let Some(script) = preload(line, process, &alias)? {
        process.import_scripts.push(script);
    }
    server.script_aliases.push(Arc::new(alias));
    Ok(())
}

fn parse(
    line: &Line<'_>,
    locate: impl FnOnce(&[u8]) -> Result<Location, ConfigError>,
) -> Result<ScriptAlias, ConfigError> {
    let mut words = line.words();
    let location = words.next_word().filter(|location| !location.is_empty());
    let target = words.next_word().filter(|target| !target.is_empty());
    let (Some(location), Some(target)) = (location, target) else {
        return Err(line.arity_error("requires at least two arguments"));
    };
    let location = locate(&location)?;
    let substituted = matches!(location, Location::Pattern(_)) && target.starts_with(b"$");
    let mut alias = ScriptAlias {
        location,
        target: if substituted { target.into() } else { line.script_path(&target)? },
        process_group: None,
        application_group: None,
        callable_object: None,
        pass_authorization: None,
        mark: c"wsgi-script".to_owned(),
    };
    let allowed = ["process-group", "application-group", "callable-object", "pass-authorization"];
    let mut options = Options::new(line, words, allowed);
    while let Some(option) = options.next_option()? {
        match option.name {
            "process-group" => alias.process_group = Some(option.group("a process group")?),
            "application-group" => {
                alias.application_group = Some(option.group("an application group")?);
            }
            "callable-object" => {
                alias.callable_object = Some(option.not_empty("a callable object")?.into());
            }
            _ => alias.pass_authorization = Some(option.flag()?),
        }
    }
    Ok(alias)
}

/// A script whose groups and path are known without a request is loaded when its process starts.
fn preload(
    line: &Line<'_>,
    process: &ProcessConfig,
    alias: &ScriptAlias,
) -> Result<Option<ImportScript>, ConfigError> {
    let (Some(process_group), Some(application_group)) =
        (&alias.process_group, &alias.application_group)
    else {
        return Ok(None);
    };
    let expands = |name: &[u8]| name.windows(2).any(|pair| pair == b"%{");
    let substitutes =
        matches!(alias.location, Location::Pattern(_)) && alias.target.contains(&b'$');
    let directory = alias.target.ends_with(b"/");
    if expands(process_group) || expands(application_group) || substitutes || directory {
        return Ok(None);
    }
    if !process_group.is_empty() {
        reachable(line, &process.daemon_processes, process_group)?;
    }
    let server: ServerIdentity = line.surroundings.server();
    Ok(Some(ImportScript {
        path: alias.target.clone(),
        process_group: process_group.clone(),
        application_group: application_group.clone(),
        server,
    }))
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
    use super::super::DaemonProcess;
    use super::super::stub::{Configuration, configuration, with_line};
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

    #[test]
    fn an_alias_carries_its_options() {
        let written = configuration(&[
            "WSGIScriptAlias / /app process-group=%{GLOBAL} application-group='a b' \
             callable-object=app pass-authorization=on",
        ]);
        let alias = &written.server.script_aliases[0];
        assert_eq!(alias.process_group.as_deref(), Some(&b""[..]));
        assert_eq!(alias.application_group.as_deref(), Some(&b"a b"[..]));
        assert_eq!(alias.callable_object.as_deref(), Some(&b"app"[..]));
        assert_eq!(alias.pass_authorization, Some(true));
    }

    #[test]
    fn a_malformed_alias_is_refused() {
        let two =
            " requires at least two arguments, URL path, script file or directory, and options";
        for (arguments, refusal) in [
            ("", two),
            ("/app", two),
            ("/app \"\"", two),
            (
                "/ /app process-group=",
                ": process-group=\"\" is not allowed, it must name a process group",
            ),
            (
                "/ /app application-group=",
                ": application-group=\"\" is not allowed, it must name an application group",
            ),
            (
                "/ /app callable-object=''",
                ": callable-object=\"\" is not allowed, it must name a callable object",
            ),
            ("/ /app pass-authorization=1", ": pass-authorization=\"1\" must be one of: Off | On"),
            (
                "/ /app threads=5",
                " has no option \"threads\"; it takes name=value with one of these names: \
                 process-group, application-group, callable-object, pass-authorization",
            ),
        ] {
            let sentence =
                Configuration::default().refusal(&format!("WSGIScriptAlias {arguments}"));
            assert_eq!(sentence, format!("WSGIScriptAlias{refusal}"));
        }
        assert_eq!(
            Configuration::default().refusal("WSGIScriptAliasMatch ^/( /app"),
            "WSGIScriptAliasMatch has \"^/(\", which could not be compiled as a regular expression"
        );
    }

    #[test]
    fn a_script_whose_groups_are_fully_named_is_loaded_at_start() {
        for (line, loaded) in [
            ("WSGIScriptAlias / /a process-group=%{GLOBAL} application-group=%{GLOBAL}", true),
            ("WSGIScriptAlias / /a process-group=%{GLOBAL} application-group=x", true),
            ("WSGIScriptAlias / /a process-group=%{GLOBAL}", false),
            ("WSGIScriptAlias / /a application-group=x", false),
            ("WSGIScriptAlias / /a process-group=%{GLOBAL} application-group=%{SERVER}", false),
            ("WSGIScriptAlias / /$a process-group=%{GLOBAL} application-group=x", true),
            ("WSGIScriptAlias / /a/ process-group=%{GLOBAL} application-group=x", false),
            ("WSGIScriptAliasMatch ^/ /a process-group=%{GLOBAL} application-group=x", true),
            ("WSGIScriptAliasMatch ^/ /a$0 process-group=%{GLOBAL} application-group=x", false),
        ] {
            let scripts = configuration(&[line]).process.import_scripts;
            assert_eq!(scripts.len(), usize::from(loaded), "{line}");
        }
    }

    #[test]
    fn a_script_loaded_at_start_needs_a_group_that_its_server_may_use() {
        let mut configuration = Configuration::default();
        let server = |name: Option<&str>, is_virtual| ServerIdentity {
            name: name.map(|name| name.as_bytes().to_vec()),
            is_virtual,
            defined_at: "site.conf:3".to_owned(),
            ..ServerIdentity::default()
        };
        let mut main = DaemonProcess::new(b"main", server(None, false));
        main.threads = 1;
        configuration.process.daemon_processes =
            vec![main, DaemonProcess::new(b"site", server(Some("a"), true))];
        for (from, group, refusal) in [
            (Some("a"), "main", None),
            (Some("a"), "site", None),
            (Some("b"), "site", Some("not accessible")),
            (None, "site", Some("not matchable")),
            (Some("a"), "none", Some("not yet configured")),
        ] {
            configuration.apache.server = server(from, true);
            let text = format!("WSGIScriptAlias / /a process-group={group} application-group=x");
            let result = with_line(&configuration.apache, None, &text, |line| {
                let alias = parse(line, |prefix| Ok(Location::Prefix(prefix.into())))?;
                preload(line, &configuration.process, &alias)
            });
            match (result, refusal) {
                (Ok(script), None) => assert!(script.is_some(), "{text}"),
                (Err(error), Some(refusal)) => {
                    assert!(error.to_string().contains(refusal), "{error}");
                }
                (result, _) => panic!("{text} from {from:?}: {result:?}"),
            }
        }
    }
}
