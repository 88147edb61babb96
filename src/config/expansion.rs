//! `%{…}` in the names of groups and callables, per request. It never decides which name applies.

use std::borrow::Cow;

/// The main interpreter, or embedded mode.
pub(super) const GLOBAL: &str = "%{GLOBAL}";
/// What may be written in place of a group's name.
pub(super) const EXPANSIONS: [&str; 5] = [GLOBAL, "%{SERVER}", "%{HOST}", "%{RESOURCE}", VARIABLE];
const VARIABLE: &str = "%{ENV:variable}";
/// The same for a script about access, authentication or dispatch.
pub(super) const SCRIPT_EXPANSIONS: [&str; 3] = [GLOBAL, "%{SERVER}", "%{HOST}"];

/// Whether a group's name is one of `expanded`, with any name of a variable.
pub(super) fn is_expansion(name: &[u8], expanded: &[&str]) -> bool {
    let written = match token(name) {
        Some(Token::Env(_)) => VARIABLE.as_bytes(),
        _ => name,
    };
    expanded.iter().any(|known| known.as_bytes() == written)
}

/// What a request can say about itself for an expansion.
pub(crate) trait Names {
    /// `ServerName` of the virtual host.
    fn server_name(&self) -> &[u8];

    /// httpd: `ap_get_server_port`
    fn server_port(&self) -> u16;

    /// The `Host` the client asked for, without its port.
    fn host_name(&self) -> Option<&[u8]>;

    /// The URL path without PATH_INFO, runs of slashes collapsed, lower case where the file system
    /// has no case.
    fn script_name(&self) -> Cow<'_, [u8]>;

    /// A request note, else a per-request environment variable, else one of the process.
    fn env(&self, variable: &[u8]) -> Option<Cow<'_, [u8]>>;
}

/// The process group for a request. Empty: embedded mode.
pub(crate) fn process_group<'a>(value: &'a [u8], request: &'a dyn Names) -> Cow<'a, [u8]> {
    request_group(value, request)
}

/// The application group for a request. Empty: the main interpreter.
pub(crate) fn application_group<'a>(value: &'a [u8], request: &'a dyn Names) -> Cow<'a, [u8]> {
    request_group(value, request)
}

/// The application group of an access, authentication or dispatch script: it has no resource of its
/// own, so only `%{GLOBAL}`, `%{SERVER}` and `%{HOST}` mean anything.
pub(crate) fn script_group<'a>(value: &'a [u8], request: &'a dyn Names) -> Cow<'a, [u8]> {
    match token(value) {
        Some(Token::Global) => Cow::Borrowed(b""),
        Some(Token::Server) => with_port(request.server_name(), request),
        Some(Token::Host) => with_port(host_or_server(request), request),
        Some(Token::Resource | Token::Env(_)) | None => Cow::Borrowed(value),
    }
}

/// The callable object's name. Only `%{ENV:…}` means anything; any other `%` gives the default.
pub(crate) fn callable_object<'a>(value: &'a [u8], request: &'a dyn Names) -> Cow<'a, [u8]> {
    if !value.starts_with(b"%") {
        return Cow::Borrowed(value);
    }
    let found = match token(value) {
        Some(Token::Env(variable)) => request.env(variable),
        _ => None,
    };
    found.unwrap_or(Cow::Borrowed(b"application"))
}

/// A token is the whole value or nothing.
enum Token<'a> {
    Global,
    Server,
    Host,
    Resource,
    Env(&'a [u8]),
}

fn token(value: &[u8]) -> Option<Token<'_>> {
    match value {
        b"%{GLOBAL}" => Some(Token::Global),
        b"%{SERVER}" => Some(Token::Server),
        b"%{HOST}" => Some(Token::Host),
        b"%{RESOURCE}" => Some(Token::Resource),
        _ => Some(Token::Env(value.strip_prefix(b"%{ENV:")?.strip_suffix(b"}")?)),
    }
}

fn request_group<'a>(value: &'a [u8], request: &'a dyn Names) -> Cow<'a, [u8]> {
    match token(value) {
        Some(Token::Global) => Cow::Borrowed(b""),
        Some(Token::Server) => with_port(request.server_name(), request),
        Some(Token::Host) => with_port(host_or_server(request), request),
        Some(Token::Resource) => {
            let mut name = with_port(request.server_name(), request).into_owned();
            name.push(b'|');
            name.extend_from_slice(&request.script_name());
            Cow::Owned(name)
        }
        Some(Token::Env(variable)) => match request.env(variable) {
            // Once more, but a variable that names a variable would never end.
            Some(found) if found.starts_with(b"%") && !found.starts_with(b"%{ENV:") => {
                match found {
                    Cow::Borrowed(found) => request_group(found, request),
                    Cow::Owned(found) => Cow::Owned(request_group(&found, request).into_owned()),
                }
            }
            Some(found) => found,
            None => Cow::Borrowed(value),
        },
        None => Cow::Borrowed(value),
    }
}

/// HTTP/1.0 needs no `Host`; then the server's own name stands in.
fn host_or_server(request: &dyn Names) -> &[u8] {
    request.host_name().filter(|name| !name.is_empty()).unwrap_or_else(|| request.server_name())
}

/// `name:port`, but for the two ports that clients omit.
fn with_port<'a>(name: &'a [u8], request: &dyn Names) -> Cow<'a, [u8]> {
    match request.server_port() {
        80 | 443 => Cow::Borrowed(name),
        port => Cow::Owned([name, format!(":{port}").as_bytes()].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request {
        port: u16,
        host: Option<&'static [u8]>,
    }

    impl Names for Request {
        fn server_name(&self) -> &[u8] {
            b"example.com"
        }
        fn server_port(&self) -> u16 {
            self.port
        }
        fn host_name(&self) -> Option<&[u8]> {
            self.host
        }
        fn script_name(&self) -> Cow<'_, [u8]> {
            Cow::Borrowed(b"/app")
        }
        fn env(&self, variable: &[u8]) -> Option<Cow<'_, [u8]>> {
            let table: &[(&[u8], &[u8])] = &[
                (b"PLAIN", b"blue"),
                (b"EMPTY", b""),
                (b"AGAIN", b"%{HOST}"),
                (b"LOOP", b"%{ENV:LOOP}"),
                (b"ODD", b"%{NONE}"),
            ];
            let (_, found) = table.iter().find(|(name, _)| *name == variable)?;
            Some(if variable == b"AGAIN" {
                Cow::Owned(found.to_vec())
            } else {
                Cow::Borrowed(found)
            })
        }
    }

    type Expansion = for<'a> fn(&'a [u8], &'a dyn Names) -> Cow<'a, [u8]>;

    fn check(expand: Expansion, port: u16, host: Option<&'static [u8]>, table: &[(&str, &str)]) {
        for (value, expected) in table {
            let request = Request { port, host };
            let found = expand(value.as_bytes(), &request);
            assert_eq!(String::from_utf8_lossy(&found), *expected, "{value} on port {port}");
        }
    }

    #[test]
    fn a_group_is_named_after_the_request() {
        for expand in [process_group as Expansion, application_group] {
            check(
                expand,
                8000,
                Some(b"www"),
                &[
                    ("", ""),
                    ("site", "site"),
                    ("a%{GLOBAL}", "a%{GLOBAL}"),
                    ("%{GLOBAL}", ""),
                    ("%{SERVER}", "example.com:8000"),
                    ("%{HOST}", "www:8000"),
                    ("%{RESOURCE}", "example.com:8000|/app"),
                    ("%{ENV:PLAIN}", "blue"),
                    ("%{ENV:EMPTY}", ""),
                    ("%{ENV:AGAIN}", "www:8000"),
                    ("%{ENV:LOOP}", "%{ENV:LOOP}"),
                    ("%{ENV:ODD}", "%{NONE}"),
                    ("%{ENV:UNSET}", "%{ENV:UNSET}"),
                    ("%{ENV:PLAIN", "%{ENV:PLAIN"),
                    ("%{global}", "%{global}"),
                    ("%", "%"),
                ],
            );
        }
    }

    #[test]
    fn the_usual_ports_are_left_out() {
        for port in [80, 443] {
            check(
                application_group,
                port,
                Some(b"www"),
                &[
                    ("%{SERVER}", "example.com"),
                    ("%{HOST}", "www"),
                    ("%{RESOURCE}", "example.com|/app"),
                ],
            );
        }
    }

    #[test]
    fn without_a_host_the_server_name_stands_in() {
        for host in [None, Some(b"".as_slice())] {
            check(process_group, 81, host, &[("%{HOST}", "example.com:81")]);
        }
    }

    #[test]
    fn the_group_of_an_access_script_has_no_resource_and_no_environment() {
        check(
            script_group,
            81,
            Some(b"www"),
            &[
                ("%{GLOBAL}", ""),
                ("%{SERVER}", "example.com:81"),
                ("%{HOST}", "www:81"),
                ("%{RESOURCE}", "%{RESOURCE}"),
                ("%{ENV:PLAIN}", "%{ENV:PLAIN}"),
                ("site", "site"),
            ],
        );
    }

    #[test]
    fn a_callable_is_a_name_or_a_variable() {
        check(
            callable_object,
            81,
            None,
            &[
                ("app", "app"),
                ("%{ENV:PLAIN}", "blue"),
                ("%{ENV:AGAIN}", "%{HOST}"),
                ("%{ENV:UNSET}", "application"),
                ("%{GLOBAL}", "application"),
                ("%", "application"),
            ],
        );
    }
}
