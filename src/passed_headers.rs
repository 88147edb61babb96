//! Which headers of a request the application gets, each once: a header replaces a variable of the same name that the
//! configuration has set, and what a trusted proxy says replaces a header. It must never know what else the
//! application is told.
#![forbid(unsafe_code)]

use crate::apr::Table;
use crate::config::{ProxyHeader, Settings};
use crate::httpd::Request;
use crate::trusted_proxy::ProxyTrust;
use wsgi::{Environ, HeaderRule, Key, header_rule};

/// The headers of a request that its application gets as they came.
pub(crate) struct PassedHeaders<'a, 'call> {
    table: Table<'call>,
    /// What a proxy says, where the configuration asks.
    proxy: Option<&'a ProxyTrust<'call>>,
    authorization: bool,
    proxy_authorization: bool,
}

impl<'a, 'call> PassedHeaders<'a, 'call> {
    pub(crate) fn of(
        request: &Request<'call>,
        settings: &Settings<'_>,
        proxy: Option<&'a ProxyTrust<'call>>,
    ) -> Self {
        let credentials = request.passes_credentials();
        Self {
            table: request.headers_in(),
            proxy,
            authorization: credentials || settings.pass_authorization,
            proxy_authorization: credentials,
        }
    }

    /// Hands them over, in their order.
    pub(crate) fn hand_over(&self, environ: &mut dyn Environ) {
        self.table.each(|name, value| {
            let Some(rule) = self.rule(name) else { return };
            match rule {
                HeaderRule::Http => environ.header(name, value),
                HeaderRule::ContentType => environ.set(Key::ContentType, value),
                HeaderRule::ContentLength => environ.set(Key::ContentLength, value),
                HeaderRule::Host => environ.set(Key::HttpHost, value),
                HeaderRule::Authorization => environ.set(Key::HttpAuthorization, value),
                HeaderRule::ProxyAuthorization => environ.set(Key::HttpProxyAuthorization, value),
                HeaderRule::Proxy | HeaderRule::Ambiguous => {}
            }
        });
    }

    /// Whether the application gets a header in place of a variable of this name, or must not see the variable, because it
    /// stands for a header of a proxy that is not trusted.
    pub(crate) fn replace(&self, variable: &[u8]) -> bool {
        let name = match variable.strip_prefix(b"HTTP_") {
            Some(b"HOST") if self.has_trusted_host() => return true,
            // No header has this variable: those without the prefix are theirs.
            Some(b"CONTENT_TYPE" | b"CONTENT_LENGTH") => return false,
            Some(name) if self.is_replaced_or_untrusted(name) => return true,
            Some(name) => name,
            None if matches!(variable, b"CONTENT_TYPE" | b"CONTENT_LENGTH") => variable,
            None => return false,
        };
        let mut found = false;
        self.table.each(|header, _| {
            found |= becomes_variable(header, name) && self.rule(header).is_some();
        });
        found
    }

    /// What becomes of the header; `None`: the application does not get it, or not as it came.
    fn rule(&self, name: &[u8]) -> Option<HeaderRule> {
        let rule = header_rule(name);
        let is_passed = match rule {
            HeaderRule::Http => !self.is_replaced_or_untrusted(name),
            HeaderRule::ContentType | HeaderRule::ContentLength => true,
            HeaderRule::Host => !self.has_trusted_host(),
            HeaderRule::Authorization => self.authorization,
            HeaderRule::ProxyAuthorization => self.proxy_authorization,
            HeaderRule::Proxy | HeaderRule::Ambiguous => false,
        };
        is_passed.then_some(rule)
    }

    /// Whether a trusted proxy says which host was asked for.
    fn has_trusted_host(&self) -> bool {
        self.proxy.is_some_and(|proxy| proxy.host.is_some())
    }

    /// Whether a header, or the variable that stands in for it, is one of a proxy that is not believed, or of which the
    /// application gets the trusted part alone.
    fn is_replaced_or_untrusted(&self, name: &[u8]) -> bool {
        let Some(proxy) = self.proxy else { return false };
        ProxyHeader::parse(name).is_some_and(|header| {
            let is_cut = header == ProxyHeader::ForwardedFor && proxy.forwarded_for.is_some();
            is_cut || proxy.removes_header(header)
        })
    }
}

/// Whether the variable of a header has this name, the prefix aside.
fn becomes_variable(header: &[u8], name: &[u8]) -> bool {
    let same = |(ours, theirs): (&u8, &u8)| match ours {
        b'-' => *theirs == b'_',
        _ => ours.to_ascii_uppercase() == *theirs,
    };
    header.len() == name.len() && header.iter().zip(name).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_of_a_header_is_its_name_in_upper_case_with_underscores() {
        for (header, name, same) in [
            ("X-Some", "X_SOME", true),
            ("x-1-y", "X_1_Y", true),
            ("X-Some", "X_SOMETHING", false),
            ("X-Some", "X_some", false),
            ("X-Some", "X-SOME", false),
        ] {
            assert_eq!(
                becomes_variable(header.as_bytes(), name.as_bytes()),
                same,
                "{header} {name}"
            );
        }
    }
}
