//! What a proxy in front of Apache says about the client, and how much of it is believed
//! (`WSGITrustedProxyHeaders`, `WSGITrustedProxies`; mod_wsgi's reference, section 7). A rule and
//! nothing else: it never sees a request, and it never resolves a name.
#![forbid(unsafe_code)]

use crate::config::{ProxyCategory, ProxyHeader, Subnet};
use std::borrow::Cow;
use std::net::IpAddr;

/// What the headers of one request say of the client, as far as they are trusted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProxyTrust<'a> {
    /// The client's address.
    pub(crate) client: Option<&'a [u8]>,
    /// `X-Forwarded-For` without the entries that no trusted proxy has added.
    pub(crate) forwarded_for: Option<Cow<'a, [u8]>>,
    /// The host that was asked for.
    pub(crate) host: Option<&'a [u8]>,
    /// The server's name.
    pub(crate) server: Option<&'a [u8]>,
    /// The port.
    pub(crate) port: Option<&'a [u8]>,
    /// The URL path at which the proxy has mounted the application.
    pub(crate) script_name: Option<&'a [u8]>,
    /// Whether the client's connection is encrypted, where a header says so in words that are known.
    pub(crate) https: Option<bool>,
    /// By category: nothing was listed, or the one header of those listed that stays.
    kept: [Listed; CATEGORIES],
}

/// Of a category no header was listed, or these were and one of them may have been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listed {
    #[default]
    None,
    Some(Option<ProxyHeader>),
}

const CATEGORIES: usize = 6;

impl<'a> ProxyTrust<'a> {
    /// Judges a request that came from `peer`. `listed` are the headers that are trusted if the peer
    /// is one of `proxies`; without such a list they are trusted from every peer. `value` looks a header up.
    pub(crate) fn judge(
        listed: &[ProxyHeader],
        proxies: Option<&[Subnet]>,
        peer: &[u8],
        value: impl Fn(ProxyHeader) -> Option<&'a [u8]>,
    ) -> Self {
        let mut trust = Self::default();
        let trusted = proxies.is_none_or(|proxies| is_one_of(proxies, peer));
        for &header in listed {
            let place = trust.kept.get_mut(header.category() as usize);
            let Some(kept) = place else { continue };
            if *kept == Listed::None {
                *kept = Listed::Some(None);
            }
            if let Some(value) = value(header).filter(|_| trusted) {
                *kept = Listed::Some(Some(header));
                trust.apply(header, value, proxies);
            }
        }
        trust
    }

    /// Whether the application must not see this header: another one of its kind was believed, or none
    /// was.
    pub(crate) fn removes_header(&self, header: ProxyHeader) -> bool {
        match self.kept.get(header.category() as usize) {
            Some(Listed::Some(kept)) => *kept != Some(header),
            Some(Listed::None) | None => false,
        }
    }

    /// Whether a header has spoken about the scheme, so that Apache's own view does not count.
    pub(crate) fn decides_scheme(&self) -> bool {
        matches!(self.kept.get(ProxyCategory::Scheme as usize), Some(Listed::Some(Some(_))))
    }

    fn apply(&mut self, header: ProxyHeader, value: &'a [u8], proxies: Option<&[Subnet]>) {
        match header {
            ProxyHeader::ForwardedFor => self.forwarded_for(value, proxies),
            ProxyHeader::ClientIp | ProxyHeader::RealIp => {
                self.client = Some(value);
                self.forwarded_for = None;
            }
            ProxyHeader::ForwardedHost | ProxyHeader::Host => self.host = Some(value),
            ProxyHeader::ForwardedServer => self.server = Some(value),
            ProxyHeader::ForwardedPort => self.port = Some(value),
            ProxyHeader::ScriptName | ProxyHeader::ForwardedScriptName => {
                self.script_name = Some(value);
            }
            ProxyHeader::ForwardedProto | ProxyHeader::ForwardedScheme | ProxyHeader::Scheme => {
                self.https = switch_value(value, &[b"https"], &[b"http"]).or(self.https);
            }
            ProxyHeader::ForwardedHttps | ProxyHeader::ForwardedSsl | ProxyHeader::Https => {
                let (on, off) =
                    ([b"on".as_slice(), b"true", b"1"], [b"off".as_slice(), b"false", b"0"]);
                self.https = switch_value(value, &on, &off).or(self.https);
            }
        }
    }

    /// Each proxy appends the address it received the request from. So from the right every entry is
    /// reliable, as long as the one after it is a trusted proxy.
    fn forwarded_for(&mut self, value: &'a [u8], proxies: Option<&[Subnet]>) {
        let entries: Vec<&[u8]> = value
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|entry| !entry.is_empty())
            .collect();
        let Some(proxies) = proxies else {
            self.client = entries.first().copied().or(self.client);
            return;
        };
        let vouched = entries.iter().rev().take_while(|entry| is_one_of(proxies, entry)).count();
        let first = entries.len().saturating_sub(vouched + 1);
        let Some(&[client, ref rest @ ..]) = entries.get(first..) else { return };
        self.client = Some(client);
        self.forwarded_for = Some(if rest.is_empty() {
            Cow::Borrowed(client)
        } else {
            Cow::Owned(entries.get(first..).unwrap_or_default().join(b", ".as_slice()))
        });
    }
}

/// Whether `text` is an address in one of the networks. The zone of a link-local address says nothing
/// about whose it is.
fn is_one_of(proxies: &[Subnet], text: &[u8]) -> bool {
    let text = text.split(|&byte| byte == b'%').next().unwrap_or_default();
    let address = std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok());
    address.is_some_and(|address| proxies.iter().any(|subnet| subnet.contains(address)))
}

fn switch_value(value: &[u8], on: &[&[u8]], off: &[&[u8]]) -> Option<bool> {
    let is = |words: &[&[u8]]| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    if is(on) {
        return Some(true);
    }
    is(off).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Headers<'a> = &'a [(ProxyHeader, &'a str)];

    fn judge<'a>(
        listed: &[ProxyHeader],
        proxies: Option<&str>,
        peer: &str,
        headers: &'a [(ProxyHeader, impl AsRef<[u8]>)],
    ) -> ProxyTrust<'a> {
        let proxies: Option<Vec<Subnet>> = proxies.map(|proxies| {
            proxies.split(' ').map(|subnet| Subnet::parse(subnet.as_bytes()).unwrap()).collect()
        });
        ProxyTrust::judge(listed, proxies.as_deref(), peer.as_bytes(), |header| {
            headers.iter().find(|(name, _)| *name == header).map(|(_, value)| value.as_ref())
        })
    }

    #[test]
    fn the_client_is_whom_the_outermost_trusted_proxy_heard() {
        let table = [
            // Whose entries are trusted, the header, the client, the header afterwards.
            ("10.0.0.1", "1.1.1.1", "1.1.1.1", "1.1.1.1"),
            ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1", "1.1.1.1"),
            ("10.0.0.0/8", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1", "1.1.1.1, 10.0.0.2"),
            (
                "10.0.0.0/8",
                " 1.1.1.1 ,,10.0.0.3,10.0.0.2,",
                "1.1.1.1",
                "1.1.1.1, 10.0.0.3, 10.0.0.2",
            ),
            ("10.0.0.0/8", "10.0.0.3, 10.0.0.2", "10.0.0.3", "10.0.0.3, 10.0.0.2"),
            ("10.0.0.0/8", "1.1.1.1, junk, 10.0.0.2", "junk", "junk, 10.0.0.2"),
            ("10.0.0.0/8", "10.0.0.9, junk", "junk", "junk"),
            ("10.0.0.0/8 fd00::/8", "2001:db8::1, fd00::2", "2001:db8::1", "2001:db8::1, fd00::2"),
            ("10.0.0.0/8", "1.1.1.1, ::ffff:10.0.0.2", "1.1.1.1", "1.1.1.1, ::ffff:10.0.0.2"),
        ];
        for (proxies, sent, client, left) in table {
            let headers = [(ProxyHeader::ForwardedFor, sent)];
            let listed = [ProxyHeader::ForwardedFor];
            let trust =
                judge(&listed, Some(&format!("127.0.0.1 {proxies}")), "127.0.0.1", &headers);
            assert_eq!(trust.client, Some(client.as_bytes()), "{sent}");
            assert_eq!(trust.forwarded_for.as_deref(), Some(left.as_bytes()), "{sent}");
        }
    }

    #[test]
    fn without_a_list_of_proxies_the_first_entry_is_the_client() {
        let table =
            [("6.6.6.6, 1.1.1.1", Some("6.6.6.6")), (" , x", Some("x")), (" ,", None), ("", None)];
        for (sent, client) in table {
            let headers = [(ProxyHeader::ForwardedFor, sent)];
            let trust = judge(&[ProxyHeader::ForwardedFor], None, "6.6.6.6", &headers);
            assert_eq!(trust.client, client.map(str::as_bytes), "{sent}");
            assert_eq!(trust.forwarded_for, None);
            assert!(!trust.removes_header(ProxyHeader::ForwardedFor));
        }
    }

    #[test]
    fn the_header_that_is_listed_last_wins_and_hides_the_others_of_its_kind() {
        use ProxyHeader::{ClientIp, ForwardedFor, ForwardedHost, Host, RealIp};
        let headers = [(ClientIp, "1.1.1.1"), (ForwardedFor, "2.2.2.2"), (ForwardedHost, "a")];
        let trust = judge(&[ForwardedFor, ClientIp, RealIp], None, "9.9.9.9", &headers);
        assert_eq!((trust.client, trust.host), (Some(&b"1.1.1.1"[..]), None));
        assert!(trust.removes_header(ForwardedFor) && trust.removes_header(RealIp));
        assert!(
            !trust.removes_header(ClientIp)
                && !trust.removes_header(ForwardedHost)
                && !trust.removes_header(Host)
        );
        let trust = judge(&[ClientIp, ForwardedFor], Some("9.9.9.9"), "9.9.9.9", &headers);
        assert_eq!(trust.client, Some(&b"2.2.2.2"[..]));
        assert_eq!(trust.forwarded_for.as_deref(), Some(&b"2.2.2.2"[..]));
        let trust = judge(&[ForwardedFor, ClientIp], Some("9.9.9.9"), "9.9.9.9", &headers);
        assert_eq!(trust.forwarded_for, None);
    }

    #[test]
    fn a_scheme_is_told_in_one_of_two_languages() {
        use ProxyHeader::{
            ForwardedHttps, ForwardedProto, ForwardedScheme, ForwardedSsl, Https, Scheme,
        };
        for header in [ForwardedProto, ForwardedScheme, Scheme] {
            for (value, https) in
                [("https", Some(true)), ("HTTP", Some(false)), ("on", None), ("https, http", None)]
            {
                let headers = [(header, value)];
                let trust = judge(&[header], None, "9.9.9.9", &headers);
                assert_eq!((trust.https, trust.decides_scheme()), (https, true), "{value}");
            }
        }
        for header in [ForwardedHttps, ForwardedSsl, Https] {
            for (value, https) in [
                ("on", Some(true)),
                ("True", Some(true)),
                ("1", Some(true)),
                ("oFF", Some(false)),
                ("false", Some(false)),
                ("0", Some(false)),
                ("https", None),
                ("", None),
            ] {
                let headers = [(header, value)];
                assert_eq!(judge(&[header], None, "9.9.9.9", &headers).https, https, "{value}");
            }
        }
        assert!(!judge(&[Scheme], Some("10.1"), "9.9.9.9", &[(Scheme, "https")]).decides_scheme());
    }

    #[test]
    fn a_peer_is_trusted_by_its_address_alone() {
        let headers: Headers<'_> = &[(ProxyHeader::RealIp, "1.1.1.1")];
        for (peer, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fe80::1%eth0", true),
            ("11.1.2.3", false),
            ("", false),
            ("proxy.example", false),
            ("10.1.2.3 ", false),
        ] {
            let trust = judge(&[ProxyHeader::RealIp], Some("10.0.0.0/8 fe80::/10"), peer, headers);
            assert_eq!(trust.client.is_some(), trusted, "{peer}");
            assert_eq!(trust.removes_header(ProxyHeader::RealIp), !trusted, "{peer}");
        }
    }

    fn header() -> impl Strategy<Value = ProxyHeader> {
        proptest::sample::select(ProxyHeader::ALL.to_vec())
    }

    /// Values that mean something, and any others.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let known =
            ["10.0.0.1", "1.2.3.4, 10.0.0.2", "::1", "https", "on", "evil.example", "443", "/x"];
        prop_oneof![
            proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ]
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_sets_nothing(
            listed in proptest::collection::vec(header(), 0..20),
            headers in proptest::collection::vec((header(), value()), 0..20),
            peer in any::<u32>(),
        ) {
            let peer = std::net::Ipv4Addr::from_bits(peer);
            prop_assume!(peer.octets()[0] != 10);
            let trust = judge(&listed, Some("10.0.0.0/8 fd00::/8 ::1"), &peer.to_string(), &headers);
            for &header in &listed {
                prop_assert!(trust.removes_header(header));
            }
            prop_assert!(!trust.decides_scheme());
            prop_assert_eq!(ProxyTrust { kept: Default::default(), ..trust }, ProxyTrust::default());
        }

        #[test]
        fn what_a_trusted_proxy_did_not_say_is_not_set(
            listed in proptest::collection::vec(header(), 0..20),
            headers in proptest::collection::vec((header(), value()), 0..20),
        ) {
            let trust = judge(&listed, Some("10.0.0.0/8"), "10.0.0.1", &headers);
            let said = |category| listed.iter().any(|listed| {
                listed.category() == category && headers.iter().any(|(sent, _)| sent == listed)
            });
            prop_assert!(trust.client.is_none() || said(ProxyCategory::Client));
            prop_assert!(trust.host.is_none() || said(ProxyCategory::Host));
            prop_assert!(trust.server.is_none() || said(ProxyCategory::Server));
            prop_assert!(trust.port.is_none() || said(ProxyCategory::Port));
            prop_assert!(trust.script_name.is_none() || said(ProxyCategory::ScriptName));
            prop_assert_eq!(trust.decides_scheme(), said(ProxyCategory::Scheme));
            for header in ProxyHeader::ALL {
                let category = listed.iter().any(|other| other.category() == header.category());
                prop_assert!(category || !trust.removes_header(header));
            }
        }
    }
}
