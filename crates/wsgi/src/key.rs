//! The variables of a request whose names are known beforehand.
//! It must never know a value.

/// The names a transport sets for (almost) every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is named after its variable, see `Key::name`")]
pub enum Key {
    RequestMethod,
    ScriptName,
    PathInfo,
    QueryString,
    RequestUri,
    RequestScheme,
    ServerProtocol,
    ServerSoftware,
    ServerName,
    ServerAddr,
    ServerPort,
    ServerAdmin,
    RemoteAddr,
    RemotePort,
    RemoteUser,
    RedirectRemoteUser,
    AuthType,
    DocumentRoot,
    ContextPrefix,
    ContextDocumentRoot,
    ScriptFilename,
    RedirectUrl,
    RedirectQueryString,
    ContentType,
    ContentLength,
    HttpAuthorization,
    HttpProxyAuthorization,
    HttpHost,
    UrlScheme,
    RequestHandler,
    HandlerScript,
    RawScriptName,
    RawPathInfo,
    MountPoint,
    ListenerHost,
    ListenerPort,
    ServerPid,
    RequestId,
    ConnectionId,
    RequestStart,
    QueueStart,
    DaemonStart,
}

impl Key {
    /// Every key, in the order of its discriminant.
    pub const ALL: [Self; 42] = [
        Self::RequestMethod,
        Self::ScriptName,
        Self::PathInfo,
        Self::QueryString,
        Self::RequestUri,
        Self::RequestScheme,
        Self::ServerProtocol,
        Self::ServerSoftware,
        Self::ServerName,
        Self::ServerAddr,
        Self::ServerPort,
        Self::ServerAdmin,
        Self::RemoteAddr,
        Self::RemotePort,
        Self::RemoteUser,
        Self::RedirectRemoteUser,
        Self::AuthType,
        Self::DocumentRoot,
        Self::ContextPrefix,
        Self::ContextDocumentRoot,
        Self::ScriptFilename,
        Self::RedirectUrl,
        Self::RedirectQueryString,
        Self::ContentType,
        Self::ContentLength,
        Self::HttpAuthorization,
        Self::HttpProxyAuthorization,
        Self::HttpHost,
        Self::UrlScheme,
        Self::RequestHandler,
        Self::HandlerScript,
        Self::RawScriptName,
        Self::RawPathInfo,
        Self::MountPoint,
        Self::ListenerHost,
        Self::ListenerPort,
        Self::ServerPid,
        Self::RequestId,
        Self::ConnectionId,
        Self::RequestStart,
        Self::QueueStart,
        Self::DaemonStart,
    ];

    /// The variable's name in the environ.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestMethod => "REQUEST_METHOD",
            Self::ScriptName => "SCRIPT_NAME",
            Self::PathInfo => "PATH_INFO",
            Self::QueryString => "QUERY_STRING",
            Self::RequestUri => "REQUEST_URI",
            Self::RequestScheme => "REQUEST_SCHEME",
            Self::ServerProtocol => "SERVER_PROTOCOL",
            Self::ServerSoftware => "SERVER_SOFTWARE",
            Self::ServerName => "SERVER_NAME",
            Self::ServerAddr => "SERVER_ADDR",
            Self::ServerPort => "SERVER_PORT",
            Self::ServerAdmin => "SERVER_ADMIN",
            Self::RemoteAddr => "REMOTE_ADDR",
            Self::RemotePort => "REMOTE_PORT",
            Self::RemoteUser => "REMOTE_USER",
            Self::RedirectRemoteUser => "REDIRECT_REMOTE_USER",
            Self::AuthType => "AUTH_TYPE",
            Self::DocumentRoot => "DOCUMENT_ROOT",
            Self::ContextPrefix => "CONTEXT_PREFIX",
            Self::ContextDocumentRoot => "CONTEXT_DOCUMENT_ROOT",
            Self::ScriptFilename => "SCRIPT_FILENAME",
            Self::RedirectUrl => "REDIRECT_URL",
            Self::RedirectQueryString => "REDIRECT_QUERY_STRING",
            Self::ContentType => "CONTENT_TYPE",
            Self::ContentLength => "CONTENT_LENGTH",
            Self::HttpAuthorization => "HTTP_AUTHORIZATION",
            Self::HttpProxyAuthorization => "HTTP_PROXY_AUTHORIZATION",
            Self::HttpHost => "HTTP_HOST",
            Self::UrlScheme => "wsgi.url_scheme",
            Self::RequestHandler => "mod_wsgi.request_handler",
            Self::HandlerScript => "mod_wsgi.handler_script",
            Self::RawScriptName => "mod_wsgi.script_name",
            Self::RawPathInfo => "mod_wsgi.path_info",
            Self::MountPoint => "mod_wsgi.mount_point",
            Self::ListenerHost => "mod_wsgi.listener_host",
            Self::ListenerPort => "mod_wsgi.listener_port",
            Self::ServerPid => "mod_wsgi.server_pid",
            Self::RequestId => "mod_wsgi.request_id",
            Self::ConnectionId => "mod_wsgi.connection_id",
            Self::RequestStart => "mod_wsgi.request_start",
            Self::QueueStart => "mod_wsgi.queue_start",
            Self::DaemonStart => "mod_wsgi.daemon_start",
        }
    }

    /// Whether the value usually is the same from one request to the next, and harmless to keep:
    /// a receiver may then keep its own form of the last one. Never a secret or a client's text
    /// of any length.
    pub const fn is_cacheable(self) -> bool {
        matches!(
            self,
            Self::RequestMethod
                | Self::ScriptName
                | Self::RequestScheme
                | Self::ServerProtocol
                | Self::ServerSoftware
                | Self::ServerName
                | Self::ServerAddr
                | Self::ServerPort
                | Self::ServerAdmin
                | Self::RemoteAddr
                | Self::DocumentRoot
                | Self::ContextPrefix
                | Self::ContextDocumentRoot
                | Self::ScriptFilename
                | Self::UrlScheme
                | Self::RequestHandler
                | Self::HandlerScript
                | Self::RawScriptName
                | Self::MountPoint
                | Self::ListenerHost
                | Self::ListenerPort
                | Self::ServerPid
        )
    }

    /// Whether the value is a path, read in the file system's encoding rather than as latin-1.
    pub const fn is_path(self) -> bool {
        matches!(self, Self::DocumentRoot | Self::ScriptFilename)
    }

    /// Whether the value is a time ([`Environ::time`](crate::Environ::time)).
    pub const fn is_time(self) -> bool {
        matches!(self, Self::RequestStart | Self::QueueStart | Self::DaemonStart)
    }

    /// The key of this name, when there is one.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let place = slot(name)?;
        let key = (*BY_NAME.get(place)?)?;
        (key.name().as_bytes() == name).then_some(key)
    }
}

/// Slots of the table of names.
const SLOTS: usize = 128;

/// Where a name stands in the table, if it does: no two keys have the same slot.
const fn slot(name: &[u8]) -> Option<usize> {
    let [.., before, last] = name else { return None };
    let middle = name[name.len() / 2];
    let sum =
        name.len() * 215 + middle as usize * 74 + *last as usize * 128 + *before as usize * 144;
    Some(sum % SLOTS)
}

static BY_NAME: [Option<Key>; SLOTS] = {
    let mut table = [None; SLOTS];
    let mut index = 0;
    while index < Key::ALL.len() {
        let key = Key::ALL[index];
        if let Some(slot) = slot(key.name().as_bytes()) {
            assert!(table[slot].is_none(), "two keys have the same slot: other factors are needed");
            table[slot] = Some(key);
        }
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn the_table_of_keys_is_in_the_order_of_their_numbers() {
        for (index, key) in Key::ALL.into_iter().enumerate() {
            assert_eq!(key as usize, index);
            assert_eq!(Key::from_name(key.name().as_bytes()), Some(key));
        }
    }
}
