//! The request headers in which a trusted proxy may describe the client. It never sees a request.

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

    /// By name, in any case, with `-` or `_` between the words.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let canonical: Vec<u8> = name
            .iter()
            .map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() })
            .collect();
        Self::ALL.into_iter().find(|header| header.name().as_bytes() == canonical)
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
        }
        assert_eq!(ProxyHeader::parse(b"Forwarded"), None);
        assert_eq!(ProxyHeader::parse(b""), None);
    }
}
