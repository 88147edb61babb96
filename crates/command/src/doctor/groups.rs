//! Which scripts there are, and which user, Python and folders belong to each: process groups and aliases, as the
//! configuration has them. Names that only a request can give are left out.

use super::directives::Directive;
use super::server::Server;
use std::ffi::CString;
use std::path::PathBuf;

/// A user with a group, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Who {
    /// The user that the server becomes, or the one that asks.
    pub(super) fn of_apache(server: &Server) -> Self {
        Self {
            uid: server.apache_user.unwrap_or_else(sys::effective_uid),
            gid: server.apache_group.unwrap_or_else(sys::effective_gid),
        }
    }

    fn of_group(server: &Server, group: &Directive) -> Self {
        let mut who = Self::of_apache(server);
        if let Some(name) = group.option("user") {
            let number = name.strip_prefix('#').and_then(|number| number.parse().ok());
            let user = match number {
                Some(uid) => sys::user_by_id(uid),
                None => CString::new(name).ok().and_then(|name| sys::user_by_name(&name)),
            };
            who.uid = user.as_ref().map(|user| user.uid).or(number).unwrap_or(who.uid);
            who.gid = user.map_or(who.gid, |user| user.gid);
        }
        if let Some(name) = group.option("group") {
            let number = name.strip_prefix('#').and_then(|number| number.parse().ok());
            let known = || CString::new(name).ok().and_then(|name| sys::group_id_by_name(&name));
            who.gid = number.or_else(known).unwrap_or(who.gid);
        }
        who
    }
}

/// Something that runs Python: a process group, or Apache's own processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Empty: embedded mode.
    pub(super) name: String,
    pub(super) who: Who,
    pub(super) python_home: Option<PathBuf>,
    pub(super) python_path: Vec<PathBuf>,
    pub(super) home: Option<PathBuf>,
}

impl Group {
    /// The process groups, and embedded mode as the last one.
    pub(super) fn all(server: &Server) -> Vec<Self> {
        let paths = |text: &str| -> Vec<PathBuf> {
            text.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
        };
        let of = |group: &Directive| Self {
            name: group.argument(0).unwrap_or_default().to_owned(),
            who: Who::of_group(server, group),
            python_home: group.option("python-home").map(PathBuf::from),
            python_path: group.option("python-path").map_or_else(Vec::new, paths),
            home: group.option("home").map(PathBuf::from),
        };
        let embedded = Self {
            name: String::new(),
            who: Who::of_apache(server),
            python_home: server
                .all("WSGIPythonHome")
                .last()
                .and_then(|line| line.argument(0).map(PathBuf::from)),
            python_path: server
                .all("WSGIPythonPath")
                .last()
                .and_then(|line| line.argument(0).map(paths))
                .unwrap_or_default(),
            home: None,
        };
        server.all("WSGIDaemonProcess").map(of).chain([embedded]).collect()
    }

    /// How sentences name it.
    pub(super) fn title(&self) -> String {
        match self.name.as_str() {
            "" => "embedded mode".to_owned(),
            name => format!("process group {name}"),
        }
    }
}

/// A script or a folder of scripts, with the group that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) path: PathBuf,
    /// Where it is configured.
    pub(super) place: String,
    /// The alias is one of ASGI.
    pub(super) is_asgi: bool,
    pub(super) group: Group,
}

impl Script {
    /// The scripts of aliases and import scripts.
    pub(super) fn all(server: &Server) -> Vec<Self> {
        let groups = Group::all(server);
        let found = |directive: &Directive| {
            let directive_name = directive.name.to_ascii_lowercase();
            let number = match directive_name.as_str() {
                "wsgiscriptalias" | "wsgiscriptaliasmatch" | "wsgihandlerscript" => 1,
                "asgiscriptalias" | "asgiscriptaliasmatch" => 1,
                "wsgiimportscript" => 0,
                _ => return None,
            };
            let written = directive.argument(number)?;
            let name = group_of(server, directive);
            let group = groups.iter().find(|group| group.name == name)?;
            let script = Self {
                path: server.path(written),
                place: directive.place.clone(),
                is_asgi: directive_name.starts_with("asgi")
                    || directive
                        .option("interface")
                        .is_some_and(|it| it.eq_ignore_ascii_case("asgi")),
                group: group.clone(),
            };
            // What a pattern puts in is not known before there is a request.
            (!written.contains('$')).then_some(script)
        };
        server.directives.iter().filter_map(found).collect()
    }
}

/// The name of the group that a directive's script runs in; empty for embedded mode.
fn group_of(server: &Server, directive: &Directive) -> String {
    let around = || {
        // Groups that sections choose are left out; those of the virtual host and the main server are not.
        let mut lines: Vec<&Directive> = server
            .all("WSGIProcessGroup")
            .filter(|line| line.depth == 0 && (line.host.is_none() || line.host == directive.host))
            .collect();
        lines.sort_by_key(|line| line.host.is_some());
        lines.last().and_then(|line| line.argument(0))
    };
    let name = directive.option("process-group").or_else(around).unwrap_or_default();
    if name == "%{GLOBAL}" { String::new() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_have_the_group_of_their_option_host_or_server() {
        let server = Server::of(
            "WSGIDaemonProcess a user=#4711 group=#4712 python-home=/venv python-path=/x:/y\n\
             WSGIDaemonProcess b\nWSGIProcessGroup b\nWSGIScriptAlias /1 /one.wsgi process-group=a\n\
             WSGIScriptAlias /2 two.wsgi\nWSGIScriptAliasMatch ^/(x) /$1.wsgi\n<VirtualHost *:80>\n\
             WSGIProcessGroup %{GLOBAL}\nWSGIScriptAlias /3 /three.wsgi\n</VirtualHost>\n\
             WSGIImportScript /four.wsgi process-group=a application-group=%{GLOBAL}\n\
             ASGIScriptAlias /5 /five.py process-group=a\n\
             WSGIScriptAlias /6 /six.py process-group=a interface=asgi\n",
            &[],
        );
        let found: Vec<_> = Script::all(&server)
            .into_iter()
            .map(|script| (script.path.display().to_string(), script.group.name, script.is_asgi))
            .collect();
        let expected = [
            ("/one.wsgi", "a", false),
            ("/etc/apache2/two.wsgi", "b", false),
            ("/three.wsgi", "", false),
            ("/four.wsgi", "a", false),
            ("/five.py", "a", true),
            ("/six.py", "a", true),
        ];
        let owned = |(path, group, is_asgi): (&str, &str, bool)| {
            (path.to_owned(), group.to_owned(), is_asgi)
        };
        assert_eq!(found, expected.map(owned));
        let group = &Group::all(&server)[0];
        assert_eq!(group.who, Who { uid: 4711, gid: 4712 });
        assert_eq!(group.python_path, [PathBuf::from("/x"), "/y".into()]);
    }
}
