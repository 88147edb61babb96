//! An address or a network of trusted proxies. It never resolves a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that share the first `bits` bits of `network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// Bits beyond the prefix are zero.
    network: IpAddr,
    bits: u8,
}

impl Subnet {
    /// `10.1.2.3`, `10.1`, `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `fd00::/8` (APR:
    /// `apr_ipsubnet_create`).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        match (address.parse().ok(), mask) {
            (Some(address @ IpAddr::V4(_)), Some(mask)) => Self::new(address, v4_mask(mask)?),
            (Some(address @ IpAddr::V6(_)), Some(mask)) => Self::new(address, prefix(mask)?),
            (Some(address @ IpAddr::V4(_)), None) => Self::new(address, 32),
            (Some(address @ IpAddr::V6(_)), None) => Self::new(address, 128),
            (None, None) => partial_v4(address),
            (None, Some(_)) => None,
        }
    }

    /// Whether `address` belongs to it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.network.is_ipv4() == address.is_ipv4() && self.network == masked(address, self.bits)
    }

    fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let (address, bits) = match address {
            IpAddr::V4(_) if bits > 32 => return None,
            IpAddr::V6(_) if bits > 128 => return None,
            IpAddr::V6(v6) if bits >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => (IpAddr::V4(v4), bits - 96),
                None => (address, bits),
            },
            _ => (address, bits),
        };
        Some(Self { network: masked(address, bits), bits })
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// The length of a prefix, in digits only.
fn prefix(mask: &str) -> Option<u8> {
    mask.bytes().all(|byte| byte.is_ascii_digit()).then(|| mask.parse().ok())?
}

/// A prefix length or a dotted mask of ones followed by zeros.
fn v4_mask(mask: &str) -> Option<u8> {
    if let Some(bits) = prefix(mask) {
        return Some(bits);
    }
    let mask = mask.parse::<Ipv4Addr>().ok()?.to_bits();
    let ones = mask.leading_ones();
    (mask.count_ones() == ones).then(|| u8::try_from(ones).ok())?
}

/// One to three whole bytes of an IPv4 address: the network of that many.
fn partial_v4(text: &str) -> Option<Subnet> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut octets = [0; 4];
    let mut count = 0;
    for (octet, part) in octets[..3].iter_mut().zip(text.split('.')) {
        *octet = prefix(part).filter(|_| !part.is_empty())?;
        count += 1;
    }
    if text.split('.').count() != count {
        return None;
    }
    Subnet::new(IpAddr::from(octets), u8::try_from(count * 8).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_contains_the_addresses_of_its_prefix_and_no_others() {
        let table = [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.3/24", "10.1.2.200", true),
            ("10.1.2.3/24", "10.1.3.1", false),
            ("10.0.0.0/255.0.0.0", "10.9.9.9", true),
            ("10", "10.9.9.9", true),
            ("10.1", "10.1.9.9", true),
            ("10.1.", "10.1.9.9", true),
            ("10.1", "10.2.9.9", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::1", "::1", true),
            ("fd00::/8", "fdab::1", true),
            ("FD00::/8", "fdab::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "fe80::1", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ];
        for (subnet, address, expected) in table {
            let parsed = Subnet::parse(subnet.as_bytes()).expect(subnet);
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                expected,
                "{address} in {subnet}"
            );
        }
    }

    #[test]
    fn what_is_not_a_subnet_is_refused() {
        for text in [
            "",
            ".",
            "/",
            "10.",
            "10./8",
            "x",
            "localhost",
            "10.1.2.256",
            "10.1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "1.2.3.4/",
            "1.2.3.4/255.0.255.0",
            "1.2/16",
            "::1/129",
            "::g",
            "1..2",
            "+1",
            "\u{fc}",
        ] {
            let refused = Subnet::parse(text.as_bytes()).is_none();
            // `10.` is the network 10.0.0.0/8, as in mod_authz_host.
            assert_eq!(refused, text != "10.", "{text}");
        }
    }
}
