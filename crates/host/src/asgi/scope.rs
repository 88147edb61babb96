//! The scope of a request (ASGI 3, "HTTP Connection Scope"), from the variables of the transport.
#![forbid(unsafe_code)]

use crate::asgi::names::Name;
use crate::asgi::tls::TlsVariables;
use crate::cpython::{Attached, Object, Persistent, Result};
use std::ops::Range;
use std::sync::OnceLock;
use wsgi::{CommonVariables, Environ, Key};

/// The variables of a request, as far as its scope needs them: no Python object is made while the transport is locked.
#[derive(Default)]
pub(super) struct Variables {
    bytes: Vec<u8>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    method: Range<usize>,
    scheme: Range<usize>,
    protocol: Range<usize>,
    script_name: Range<usize>,
    path_info: Range<usize>,
    query: Range<usize>,
    uri: Range<usize>,
    client: Endpoint,
    server: Endpoint,
    /// Who the client is and how Apache knows, where it does.
    user: Range<usize>,
    authentication: Range<usize>,
    tls: TlsVariables,
}

/// An address and a port.
#[derive(Default)]
struct Endpoint {
    address: Range<usize>,
    port: Range<usize>,
}

/// What the variables and headers of most requests take, so that they are stored without growing.
const USUAL_BYTES: usize = 1536;
const USUAL_HEADERS: usize = 24;

impl Variables {
    /// With room for those of a request.
    pub(super) fn with_room() -> Self {
        Self {
            bytes: Vec::with_capacity(USUAL_BYTES),
            headers: Vec::with_capacity(USUAL_HEADERS),
            ..Self::default()
        }
    }

    fn store(&mut self, value: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        start..self.bytes.len()
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.headers.push((name, value));
    }

    fn get(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The headers, with names in lower case.
    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (self.get(name), self.get(value)))
    }

    /// What the client would speak over a WebSocket, the one that it likes best first.
    fn subprotocols(&self) -> impl Iterator<Item = &[u8]> {
        let lists = self.headers().filter(|(name, _)| *name == b"sec-websocket-protocol");
        let names = lists.flat_map(|(_, list)| list.split(|byte| *byte == b','));
        names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
    }

    /// The URL path as it was sent, without the query.
    fn raw_path(&self) -> &[u8] {
        let uri = self.get(&self.uri);
        // A proxy may get a whole URL.
        let path = match uri.windows(3).position(|window| window == b"://") {
            Some(at) if !uri.starts_with(b"/") => {
                let rest = uri.get(at + 3..).unwrap_or_default();
                let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                rest.get(slash..).unwrap_or_default()
            }
            _ => uri,
        };
        path.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// `1.0`, `1.1`, `2`.
    fn http_version(&self) -> Name {
        let protocol = self.get(&self.protocol);
        match protocol.strip_prefix(b"HTTP/").unwrap_or_default() {
            b"1.0" => Name::Http10,
            b"2" | b"2.0" => Name::Http2,
            b"3" | b"3.0" => Name::Http3,
            _ => Name::Http11,
        }
    }
}

impl Environ for Variables {
    /// Of these, the server is where Apache listens. Its name or its port alone come later where a trusted proxy says them.
    fn common(&mut self, common: &CommonVariables) {
        for (key, value) in common.iter() {
            if !matches!(key, Key::ServerName | Key::ServerPort) {
                self.set(key, value);
            }
        }
    }

    fn set(&mut self, key: Key, value: &[u8]) {
        match key {
            Key::ContentType if !value.is_empty() => return self.push(b"content-type", value),
            Key::ContentLength if !value.is_empty() => return self.push(b"content-length", value),
            Key::HttpHost => return self.push(b"host", value),
            Key::HttpAuthorization => return self.push(b"authorization", value),
            Key::HttpProxyAuthorization => return self.push(b"proxy-authorization", value),
            _ => {}
        }
        let place = match key {
            Key::RequestMethod => &mut self.method,
            Key::UrlScheme => &mut self.scheme,
            Key::ServerProtocol => &mut self.protocol,
            Key::ScriptName => &mut self.script_name,
            Key::PathInfo => &mut self.path_info,
            Key::QueryString => &mut self.query,
            Key::RequestUri => &mut self.uri,
            Key::RemoteAddr => &mut self.client.address,
            Key::RemotePort => &mut self.client.port,
            Key::ServerAddr | Key::ServerName => &mut self.server.address,
            Key::ListenerPort => &mut self.server.port,
            Key::ServerPort if is_number(value) => &mut self.server.port,
            Key::RemoteUser => &mut self.user,
            Key::AuthType => &mut self.authentication,
            _ => return,
        };
        let start = self.bytes.len();
        *place = start..start + value.len();
        self.bytes.extend_from_slice(value);
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        let lower = name.iter().map(|byte| match byte {
            b'_' => b'-',
            other => other.to_ascii_lowercase(),
        });
        self.bytes.extend(lower);
        let name = start..self.bytes.len();
        let value = self.store(value);
        self.headers.push((name, value));
    }

    fn other(&mut self, name: &[u8], value: &[u8]) {
        if let Some(name) = name.strip_prefix(b"SSL_") {
            self.tls.note(name, value);
        }
    }

    fn time(&mut self, _: Key, _: i64) {}
}

/// Whether a text is a port; what a proxy sends as one may be anything.
fn is_number(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<u16>().is_ok())
}

/// What a scope is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http {
        /// The client may get early hints.
        takes_early_hints: bool,
    },
    WebSocket,
}

/// Every key of a scope but `state`, in the order of the specification. Copies of this have room for all of them.
static TEMPLATE: OnceLock<Persistent> = OnceLock::new();

const KEYS: [Name; 12] = [
    Name::Type,
    Name::Asgi,
    Name::HttpVersion,
    Name::Scheme,
    Name::Path,
    Name::RawPath,
    Name::QueryString,
    Name::RootPath,
    Name::Headers,
    Name::Client,
    Name::Server,
    Name::Extensions,
];

fn template(py: Attached<'_>) -> Result<'_, Object<'_>> {
    if let Some(made) = TEMPLATE.get() {
        return Ok(made.get(py));
    }
    let made = py.dict()?;
    for key in KEYS {
        made.set_item(&key.object(py)?, &py.none())?;
    }
    let _ = TEMPLATE.set(Persistent::new(made.clone()));
    Ok(made)
}

/// The scope, but for its `state`.
pub(super) fn scope<'py>(
    py: Attached<'py>,
    variables: &Variables,
    kind: Kind,
) -> Result<'py, Object<'py>> {
    let text = |range: &Range<usize>| py.str(&String::from_utf8_lossy(variables.get(range)));
    let bytes = |range: &Range<usize>| py.bytes(variables.get(range));
    let scope = template(py)?.dict_copy()?;
    let put = |name: Name, value: Object<'py>| scope.set_item(&name.object(py)?, &value);
    put(Name::Asgi, versions(py)?)?;
    put(Name::HttpVersion, variables.http_version().object(py)?)?;
    let extensions = extensions(py, variables)?;
    match kind {
        Kind::Http { takes_early_hints } => {
            put(Name::Type, Name::Http.object(py)?)?;
            put(Name::Method, method(py, variables.get(&variables.method))?)?;
            put(Name::Scheme, scheme(py, variables.get(&variables.scheme))?)?;
            let hints = takes_early_hints.then_some(Name::EarlyHint);
            for name in [Name::PathSend, Name::ZeroCopySend].into_iter().chain(hints) {
                extensions.set_item(&name.object(py)?, &py.dict()?)?;
            }
        }
        Kind::WebSocket => {
            put(Name::Type, Name::WebSocket.object(py)?)?;
            let is_encrypted = variables.get(&variables.scheme) == b"https";
            put(Name::Scheme, if is_encrypted { Name::Wss } else { Name::Ws }.object(py)?)?;
            let subprotocols = py.list()?;
            for name in variables.subprotocols() {
                subprotocols.append(&py.str(&String::from_utf8_lossy(name))?)?;
            }
            put(Name::Subprotocols, subprotocols)?;
            extensions.set_item(&Name::WebSocketResponse.object(py)?, &py.dict()?)?;
        }
    }
    put(Name::Path, path(py, variables)?)?;
    put(Name::RawPath, py.bytes(variables.raw_path())?)?;
    put(Name::QueryString, bytes(&variables.query)?)?;
    put(Name::RootPath, text(&variables.script_name)?)?;
    let headers = py.list()?;
    for (name, value) in variables.headers() {
        headers.append(&py.tuple([py.bytes(name)?, py.bytes(value)?])?)?;
    }
    put(Name::Headers, headers)?;
    for (name, endpoint) in [(Name::Client, &variables.client), (Name::Server, &variables.server)] {
        let port = std::str::from_utf8(variables.get(&endpoint.port)).ok();
        let value = match port.and_then(|port| port.parse().ok()) {
            Some(port) => py.tuple([text(&endpoint.address)?, py.int(port)?])?,
            None => py.none(),
        };
        put(name, value)?;
    }
    put(Name::Extensions, extensions)?;
    Ok(scope)
}

/// The method; the two that most requests have are made once.
fn method<'py>(py: Attached<'py>, method: &[u8]) -> Result<'py, Object<'py>> {
    match method {
        b"GET" => Name::Get.object(py),
        b"POST" => Name::Post.object(py),
        other => py.str(&String::from_utf8_lossy(other)),
    }
}

fn scheme<'py>(py: Attached<'py>, scheme: &[u8]) -> Result<'py, Object<'py>> {
    match scheme {
        b"https" => Name::Https.object(py),
        b"http" => Name::Http.object(py),
        other => py.str(&String::from_utf8_lossy(other)),
    }
}

/// `root_path` and what follows it.
fn path<'py>(py: Attached<'py>, variables: &Variables) -> Result<'py, Object<'py>> {
    match [variables.get(&variables.script_name), variables.get(&variables.path_info)] {
        [b"", rest] => py.str(&String::from_utf8_lossy(rest)),
        both => py.str(&String::from_utf8_lossy(&both.concat())),
    }
}

/// What the scope has beside the specification, where there is any of it.
fn extensions<'py>(py: Attached<'py>, variables: &Variables) -> Result<'py, Object<'py>> {
    let extensions = py.dict()?;
    if let Some(tls) = variables.tls.extension(py)? {
        extensions.set_item(&py.interned("tls")?, &tls)?;
    }
    let user = variables.get(&variables.user);
    if !user.is_empty() {
        let text = |text: &[u8]| py.str(&String::from_utf8_lossy(text));
        let authentication = py.dict()?;
        authentication.set_item(&py.interned("user")?, &text(user)?)?;
        let kind = text(variables.get(&variables.authentication))?;
        authentication.set_item(&py.interned("type")?, &kind)?;
        extensions.set_item(&py.interned("mod_wsgi.authentication")?, &authentication)?;
    }
    Ok(extensions)
}

/// What is kept of the specification.
fn versions(py: Attached<'_>) -> Result<'_, Object<'_>> {
    let asgi = py.dict()?;
    asgi.set_item(&Name::Version.object(py)?, &Name::VersionKept.object(py)?)?;
    asgi.set_item(&Name::SpecVersion.object(py)?, &Name::SpecVersionKept.object(py)?)?;
    Ok(asgi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_path_is_the_path_of_the_request_line() {
        for (uri, path) in [
            ("/a%20b?q=1", "/a%20b"),
            ("/", "/"),
            ("http://example.com/x?y", "/x"),
            ("http://example.com", ""),
            ("/go?to=http://example.com/x", "/go"),
        ] {
            let mut variables = Variables::default();
            variables.set(Key::RequestUri, uri.as_bytes());
            assert_eq!(variables.raw_path(), path.as_bytes(), "{uri}");
        }
    }

    #[test]
    fn headers_have_their_names_in_lower_case_and_keep_their_order() {
        let mut variables = Variables::default();
        variables.set(Key::HttpHost, b"example.com");
        variables.header(b"X_Forwarded_For", b"::1");
        variables.set(Key::ContentType, b"");
        variables.set(Key::ContentLength, b"7");
        variables.other(b"HTTP_not-sent", b"x");
        let headers: Vec<_> = variables.headers().collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"host", b"example.com"), (b"x-forwarded-for", b"::1"), (b"content-length", b"7")];
        assert_eq!(headers, expected);
    }

    #[test]
    fn server_is_the_listener_unless_a_proxy_names_another_one() {
        let mut common = CommonVariables::new();
        common.set(Key::ServerName, b"www.example.com");
        common.set(Key::ServerAddr, b"127.0.0.1");
        common.set(Key::ListenerPort, b"8000");
        common.set(Key::ServerPort, b"80");
        let server = |said: &[(Key, &str)]| {
            let mut variables = Variables::default();
            variables.common(&common);
            said.iter().for_each(|(key, value)| variables.set(*key, value.as_bytes()));
            let Endpoint { address, port } = &variables.server;
            let text = |range| String::from_utf8_lossy(variables.get(range)).into_owned();
            (text(address), text(port))
        };
        let expected = |address: &str, port: &str| (address.to_owned(), port.to_owned());
        assert_eq!(server(&[]), expected("127.0.0.1", "8000"));
        assert_eq!(server(&[(Key::ServerPort, "8443")]), expected("127.0.0.1", "8443"));
        assert_eq!(server(&[(Key::ServerPort, "+1 x")]), expected("127.0.0.1", "8000"));
        let name = (Key::ServerName, "front.example");
        assert_eq!(server(&[name]), expected("front.example", "8000"));
    }

    #[test]
    fn subprotocols_are_those_of_the_list_in_its_order() {
        let mut variables = Variables::default();
        variables.header(b"SEC_WEBSOCKET_PROTOCOL", b"chat, superchat ,,x");
        let names: Vec<_> = variables.subprotocols().collect();
        assert_eq!(names, [&b"chat"[..], b"superchat", b"x"]);
    }

    #[test]
    fn version_of_http_is_that_of_the_request() {
        for (protocol, version) in [
            ("HTTP/1.0", Name::Http10),
            ("HTTP/1.1", Name::Http11),
            ("HTTP/2.0", Name::Http2),
            ("INCLUDED", Name::Http11),
        ] {
            let mut variables = Variables::default();
            variables.set(Key::ServerProtocol, protocol.as_bytes());
            assert_eq!(variables.http_version(), version);
        }
    }
}
