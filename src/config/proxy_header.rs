//! The request headers in which a trusted proxy may describe the client. It never sees a request.

use std::ffi::CStr;

/// One of the headers that `WSGITrustedProxyHeaders` may list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    ForwardedFor,
    ClientIp,
    RealIp,
    ForwardedHost,
    Host,
    ForwardedServer,
    ForwardedPort,
    ScriptName,
    ForwardedScriptName,
    ForwardedProto,
    ForwardedScheme,
    Scheme,
    ForwardedHttps,
    ForwardedSsl,
    Https,
}

/// What a header describes. Of each category listed only the header that was applied stays in the
/// environ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProxyCategory {
    Client,
    Host,
    Server,
    Port,
    ScriptName,
    Scheme,
}

impl ProxyHeader {
    pub(crate) const ALL: [Self; 15] = [
        Self::ForwardedFor,
        Self::ClientIp,
        Self::RealIp,
        Self::ForwardedHost,
        Self::Host,
        Self::ForwardedServer,
        Self::ForwardedPort,
        Self::ScriptName,
        Self::ForwardedScriptName,
        Self::ForwardedProto,
        Self::ForwardedScheme,
        Self::Scheme,
        Self::ForwardedHttps,
        Self::ForwardedSsl,
        Self::Https,
    ];

    /// The header's name in lower case.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ForwardedFor => "x-forwarded-for",
            Self::ClientIp => "x-client-ip",
            Self::RealIp => "x-real-ip",
            Self::ForwardedHost => "x-forwarded-host",
            Self::Host => "x-host",
            Self::ForwardedServer => "x-forwarded-server",
            Self::ForwardedPort => "x-forwarded-port",
            Self::ScriptName => "x-script-name",
            Self::ForwardedScriptName => "x-forwarded-script-name",
            Self::ForwardedProto => "x-forwarded-proto",
            Self::ForwardedScheme => "x-forwarded-scheme",
            Self::Scheme => "x-scheme",
            Self::ForwardedHttps => "x-forwarded-https",
            Self::ForwardedSsl => "x-forwarded-ssl",
            Self::Https => "x-https",
        }
    }

    pub(crate) const fn category(self) -> ProxyCategory {
        match self {
            Self::ForwardedFor | Self::ClientIp | Self::RealIp => ProxyCategory::Client,
            Self::ForwardedHost | Self::Host => ProxyCategory::Host,
            Self::ForwardedServer => ProxyCategory::Server,
            Self::ForwardedPort => ProxyCategory::Port,
            Self::ScriptName | Self::ForwardedScriptName => ProxyCategory::ScriptName,
            Self::ForwardedProto
            | Self::ForwardedScheme
            | Self::Scheme
            | Self::ForwardedHttps
            | Self::ForwardedSsl
            | Self::Https => ProxyCategory::Scheme,
        }
    }

    /// The header's name for a look-up in Apache's tables.
    pub(crate) const fn field(self) -> &'static CStr {
        match self {
            Self::ForwardedFor => c"X-Forwarded-For",
            Self::ClientIp => c"X-Client-IP",
            Self::RealIp => c"X-Real-IP",
            Self::ForwardedHost => c"X-Forwarded-Host",
            Self::Host => c"X-Host",
            Self::ForwardedServer => c"X-Forwarded-Server",
            Self::ForwardedPort => c"X-Forwarded-Port",
            Self::ScriptName => c"X-Script-Name",
            Self::ForwardedScriptName => c"X-Forwarded-Script-Name",
            Self::ForwardedProto => c"X-Forwarded-Proto",
            Self::ForwardedScheme => c"X-Forwarded-Scheme",
            Self::Scheme => c"X-Scheme",
            Self::ForwardedHttps => c"X-Forwarded-HTTPS",
            Self::ForwardedSsl => c"X-Forwarded-SSL",
            Self::Https => c"X-HTTPS",
        }
    }

    /// The environ's name for it.
    pub(crate) const fn variable(self) -> &'static CStr {
        match self {
            Self::ForwardedFor => c"HTTP_X_FORWARDED_FOR",
            Self::ClientIp => c"HTTP_X_CLIENT_IP",
            Self::RealIp => c"HTTP_X_REAL_IP",
            Self::ForwardedHost => c"HTTP_X_FORWARDED_HOST",
            Self::Host => c"HTTP_X_HOST",
            Self::ForwardedServer => c"HTTP_X_FORWARDED_SERVER",
            Self::ForwardedPort => c"HTTP_X_FORWARDED_PORT",
            Self::ScriptName => c"HTTP_X_SCRIPT_NAME",
            Self::ForwardedScriptName => c"HTTP_X_FORWARDED_SCRIPT_NAME",
            Self::ForwardedProto => c"HTTP_X_FORWARDED_PROTO",
            Self::ForwardedScheme => c"HTTP_X_FORWARDED_SCHEME",
            Self::Scheme => c"HTTP_X_SCHEME",
            Self::ForwardedHttps => c"HTTP_X_FORWARDED_HTTPS",
            Self::ForwardedSsl => c"HTTP_X_FORWARDED_SSL",
            Self::Https => c"HTTP_X_HTTPS",
        }
    }

    /// By name, in any case, with `-` or `_` between the words.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let same = |(ours, theirs): (u8, &u8)| {
            ours == theirs.to_ascii_lowercase() || (ours == b'-' && *theirs == b'_')
        };
        Self::ALL.into_iter().find(|header| {
            header.name().len() == name.len() && header.name().bytes().zip(name).all(same)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_its_name_in_any_case() {
        for header in ProxyHeader::ALL {
            let upper = header.name().to_ascii_uppercase();
            assert_eq!(ProxyHeader::parse(upper.as_bytes()), Some(header));
            assert_eq!(ProxyHeader::parse(upper.replace('-', "_").as_bytes()), Some(header));
            assert_eq!(ProxyHeader::parse(header.field().to_bytes()), Some(header));
            let variable = header.variable().to_bytes().strip_prefix(b"HTTP_").unwrap();
            assert_eq!(ProxyHeader::parse(variable), Some(header));
        }
        assert_eq!(ProxyHeader::parse(b"Forwarded"), None);
        assert_eq!(ProxyHeader::parse(b""), None);
    }
}
