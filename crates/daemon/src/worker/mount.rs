//! `SCRIPT_NAME` and `PATH_INFO` of a request, from what a web server sends: each has its own conventions. It knows no
//! connection.
#![forbid(unsafe_code)]

use group_config::{FrontEnd, FrontEnds};
use std::borrow::Cow;

/// What a web server says of the path of a request.
#[derive(Clone, Copy, Default)]
pub(super) struct SentPath<'a> {
    pub(super) script_name: Option<&'a [u8]>,
    pub(super) path_info: Option<&'a [u8]>,
    pub(super) script_filename: &'a [u8],
    pub(super) server_software: &'a [u8],
}

/// The two variables.
pub(super) type Split<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// What stands before the name of a file in mod_proxy_fcgi's `SCRIPT_FILENAME`.
const PROXY_PREFIXES: [&[u8]; 2] = [b"proxy:fcgi://", b"proxy:balancer://"];

impl<'a> SentPath<'a> {
    /// Both variables for an application behind these web servers.
    pub(super) fn split(self, front_ends: &'a FrontEnds) -> Split<'a> {
        if let Some(mount) = &front_ends.script_name {
            return split_at_mount(self.whole(), mount.as_bytes());
        }
        let sent = self.path_info.filter(|path| {
            // An empty one of an administrator's own making is right where nothing is known of the web server.
            !path.is_empty() || front_ends.kind == FrontEnd::Auto
        });
        match (front_ends.kind, sent) {
            (FrontEnd::Apache, _) => (Cow::default(), self.whole()),
            (FrontEnd::Auto, Some(_)) if self.is_of_a_directory() => (Cow::default(), self.whole()),
            (_, Some(path)) => (self.script_name.unwrap_or_default().into(), path.into()),
            // nginx as Debian ships it, HAProxy without `path-info` and mod_proxy_fcgi behind ProxyPass send all of the
            // path as SCRIPT_NAME.
            (_, None) => (Cow::default(), self.script_name.unwrap_or_default().into()),
        }
    }

    /// The path as the client has sent it, decoded.
    fn whole(self) -> Cow<'a, [u8]> {
        match (self.script_name.unwrap_or_default(), self.path_info.unwrap_or_default()) {
            (script, []) => script.into(),
            ([], path) => path.into(),
            (script, path) => [script, path].concat().into(),
        }
    }

    /// Whether httpd has looked for the path in its own directories (`SetHandler "proxy:fcgi://…"`), where it has found
    /// neither file nor application: it has split the path behind the first name that does not exist.
    fn is_of_a_directory(self) -> bool {
        let script = self.script_name.unwrap_or_default();
        self.server_software.starts_with(b"Apache")
            && !script.is_empty()
            && without_proxy_prefix(self.script_filename).ends_with(script)
    }
}

/// `mount` and what follows it in the path. A path that does not begin with it comes from a web server that has removed it.
fn split_at_mount<'a>(whole: Cow<'a, [u8]>, mount: &'a [u8]) -> Split<'a> {
    let rest = whole.strip_prefix(mount).filter(|rest| matches!(rest, [] | [b'/', ..]));
    let rest = rest.map(<[u8]>::len);
    let path = match (rest, whole) {
        (None, whole) => whole,
        (Some(count), Cow::Borrowed(whole)) => {
            whole.get(whole.len() - count..).unwrap_or_default().into()
        }
        (Some(count), Cow::Owned(whole)) => {
            whole.get(whole.len() - count..).unwrap_or_default().to_vec().into()
        }
    };
    (mount.into(), path)
}

/// The name of a file without what mod_proxy_fcgi puts before it, unless `ProxyFCGIBackendType GENERIC` says otherwise.
pub(super) fn without_proxy_prefix(filename: &[u8]) -> &[u8] {
    let Some(rest) = PROXY_PREFIXES.iter().find_map(|prefix| filename.strip_prefix(*prefix)) else {
        return filename;
    };
    let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    rest.get(slash..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two variables, from `SCRIPT_NAME`, `PATH_INFO` (`-`: not sent), `SCRIPT_FILENAME` and `SERVER_SOFTWARE`.
    fn split(kind: FrontEnd, mount: Option<&str>, sent: [&str; 4]) -> (String, String) {
        let front_ends =
            FrontEnds { kind, script_name: mount.map(str::to_owned), ..FrontEnds::default() };
        let optional = |text: &'static str| (text != "-").then_some(text.as_bytes());
        let sent = sent.map(|text| &*Box::leak(text.to_owned().into_boxed_str()));
        let [script, path, filename, software] = sent;
        let path = SentPath {
            script_name: optional(script),
            path_info: optional(path),
            script_filename: filename.as_bytes(),
            server_software: software.as_bytes(),
        };
        let (script, path) = path.split(&front_ends);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&script), text(&path))
    }

    #[test]
    fn each_web_server_is_understood_by_its_conventions() {
        use FrontEnd::{Apache, Auto, Caddy, Haproxy, Nginx};
        const DIRECTORY: &str = "proxy:fcgi://localhost:9000/var/www/a";
        let apache = "Apache/2.4.62 (Debian)";
        for (kind, sent, script, path) in [
            // All of the path as SCRIPT_NAME.
            (Auto, ["/a/b", "-", "/var/www/a/b", "nginx/1.22.1"], "", "/a/b"),
            (Auto, ["/a/b", "-", "proxy:fcgi://h:9000/a/b", apache], "", "/a/b"),
            (Auto, ["/a/b", "-", "/srv/a/b", "HAProxy 2.6.12"], "", "/a/b"),
            // All of it as PATH_INFO.
            (Auto, ["", "/a/b", "", "Caddy/v2.8.4"], "", "/a/b"),
            (Caddy, ["", "/a/b", "", "Caddy/v2.8.4"], "", "/a/b"),
            // An administrator has split it.
            (Auto, ["/a", "/b", "", "nginx/1.22.1"], "/a", "/b"),
            (Auto, ["/a", "", "", "nginx/1.22.1"], "/a", ""),
            (Nginx, ["/a", "/b", "", "nginx/1.22.1"], "/a", "/b"),
            (Haproxy, ["/a", "/b", "", ""], "/a", "/b"),
            (Auto, ["/a", "/b", "proxy:fcgi://h:9000/b", apache], "/a", "/b"),
            // Nothing was split off: fastcgi_split_path_info does not match, `split .php` neither.
            (Nginx, ["/a/b", "", "", "nginx/1.22.1"], "", "/a/b"),
            (Haproxy, ["/a/b", "", "", ""], "", "/a/b"),
            (Caddy, ["/a/b", "", "", "Caddy/v2.8.4"], "", "/a/b"),
            // httpd has looked for a file, and split behind the first name that does not exist.
            (Auto, ["/a", "/b", DIRECTORY, apache], "", "/a/b"),
            (Auto, ["/a", "/b", "/var/www/a", apache], "", "/a/b"),
            (Apache, ["/a", "/b", "", apache], "", "/a/b"),
            // Neither.
            (Auto, ["-", "-", "", ""], "", ""),
        ] {
            let expected = (script.to_owned(), path.to_owned());
            assert_eq!(split(kind, None, sent), expected, "{kind:?} {sent:?}");
        }
    }

    #[test]
    fn mount_point_is_split_off_whatever_the_web_server_has_split() {
        for (mount, script, path, rest) in [
            ("/app", "/app/a/b", "-", "/a/b"),
            ("/app", "", "/app/a/b", "/a/b"),
            ("/app", "/app/a", "/b", "/a/b"),
            ("/app", "/ap", "p/b", "/b"),
            ("/app", "/app", "-", ""),
            ("/app", "/app/", "-", "/"),
            // Another path: the web server has removed the mount point.
            ("/app", "/apple", "-", "/apple"),
            ("/app", "", "/a", "/a"),
            ("", "/a", "/b", "/a/b"),
        ] {
            let expected = (mount.to_owned(), rest.to_owned());
            let sent = [script, path, "", ""];
            assert_eq!(split(FrontEnd::Auto, Some(mount), sent), expected, "{sent:?}");
        }
    }

    #[test]
    fn name_of_a_file_has_no_address_of_a_proxy() {
        for (sent, name) in [
            ("proxy:fcgi://localhost:9000/srv/app.wsgi", "/srv/app.wsgi"),
            ("proxy:balancer://site/srv/app.wsgi", "/srv/app.wsgi"),
            ("proxy:fcgi://localhost:9000", ""),
            ("/srv/app.wsgi", "/srv/app.wsgi"),
        ] {
            assert_eq!(without_proxy_prefix(sent.as_bytes()), name.as_bytes());
        }
    }
}
