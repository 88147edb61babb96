//! The web servers in front of a daemon that is run by hand: which may connect, and what they mean by a path.

use crate::seconds;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

/// What a daemon that is run by hand knows of the web servers in front of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontEnds {
    /// Whose conventions the variables of a request follow.
    pub kind: FrontEnd,
    /// Where the application is mounted, without a slash at its end; `None` leaves it to the web server.
    pub script_name: Option<String>,
    /// Addresses that may connect over TCP; `None`: those of the listening sockets, which are loopback addresses, are
    /// restriction enough.
    pub allow: Option<Vec<AddressBlock>>,
    /// Addresses beside which no other one may connect over TCP (`FCGI_WEB_SERVER_ADDRS`).
    pub web_servers: Option<Vec<IpAddr>>,
    /// How long requests still come while the daemon says that it is not ready, before it stops.
    #[serde(with = "seconds")]
    pub drain_delay: Duration,
    /// The workers answer questions about the daemon's health at the sockets for requests.
    pub answers_probes: bool,
    /// The listening sockets are another process' own, systemd's for example, and outlive the daemon.
    pub sockets_are_inherited: bool,
}

impl Default for FrontEnds {
    fn default() -> Self {
        Self {
            kind: FrontEnd::default(),
            script_name: None,
            allow: None,
            web_servers: None,
            drain_delay: Duration::ZERO,
            answers_probes: true,
            sockets_are_inherited: false,
        }
    }
}

/// A web server, by its conventions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrontEnd {
    /// Known by what it sends.
    #[default]
    Auto,
    /// Apache with mod_proxy_fcgi.
    Apache,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Caddy.
    Caddy,
}

/// How many bits stand before an IPv4 address that is mapped into IPv6 (`::ffff:0:0/96`).
const MAPPED_BITS: u8 = 96;

/// A block of addresses, such as `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddressBlock {
    /// The first address.
    address: IpAddr,
    /// How many bits of it all addresses of the block have in common.
    bits: u8,
}

/// Why a text is no block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBlock {
    /// It has no address in front of the slash.
    Address,
    /// What follows the slash is no number of bits of such an address.
    Bits,
    /// The address has bits beyond those that the block has in common: one of both is a mistake.
    HostBits,
}

impl BadBlock {
    /// What is wanted in place of the text.
    pub const fn wanted(self) -> &'static str {
        match self {
            Self::Address => "an address, or a block of addresses such as 10.1.0.0/16",
            Self::Bits => "a number of bits that such an address has behind the slash",
            Self::HostBits => "a block whose address has no bits beyond those of the block",
        }
    }
}

impl FromStr for AddressBlock {
    type Err = BadBlock;

    /// Reads an address, or a block in the notation of CIDR.
    fn from_str(text: &str) -> Result<Self, BadBlock> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadBlock::Address)?;
        let most = width(address);
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| BadBlock::Bits))?;
        if bits > most {
            return Err(BadBlock::Bits);
        }
        let (address, bits) = canonical(address, bits);
        let block = Self { address, bits };
        (masked(address, bits) == number(address)).then_some(block).ok_or(BadBlock::HostBits)
    }
}

impl AddressBlock {
    /// Whether the address is one of the block. An IPv4 address that comes over an IPv6 socket is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let same_kind = address.is_ipv4() == self.address.is_ipv4();
        same_kind && masked(address, self.bits) == number(self.address)
    }
}

impl FrontEnds {
    /// Whether a web server at this address may connect over TCP.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_allowed =
            self.allow.as_ref().is_none_or(|blocks| blocks.iter().any(|it| it.contains(address)));
        let is_web_server = self.web_servers.as_ref().is_none_or(|all| all.contains(&address));
        is_allowed && is_web_server
    }

    /// Checks that a peer over TCP, whose address this is, may connect; one without an address may not.
    ///
    /// # Errors
    /// Where it may not; the line for the log.
    pub fn check_peer(&self, address: Option<IpAddr>) -> Result<(), String> {
        let name = match address {
            Some(address) if self.admits(address) => return Ok(()),
            Some(address) => address.to_canonical().to_string(),
            None => "a peer without an address".to_owned(),
        };
        Err(format!(
            "WSGI0248: a connection was refused: {name} is not allowed to connect (--allow)"
        ))
    }

    /// Whether a web server of this `SERVER_SOFTWARE` takes lines for its log (FCGI_STDERR): HAProxy up to 2.6.12 crashes at
    /// them (its issue 2150).
    pub fn takes_log_lines(&self, server_software: &[u8]) -> bool {
        match self.kind {
            FrontEnd::Haproxy => false,
            FrontEnd::Auto => !server_software.starts_with(b"HAProxy"),
            FrontEnd::Apache | FrontEnd::Nginx | FrontEnd::Caddy => true,
        }
    }

    /// Whether addresses of other machines are restricted at all.
    pub const fn is_restricted(&self) -> bool {
        self.allow.is_some() || self.web_servers.is_some()
    }
}

/// Reads the value of `FCGI_WEB_SERVER_ADDRS`: addresses separated by commas.
///
/// # Errors
/// The part that is no address.
pub fn web_server_addresses(text: &str) -> Result<Vec<IpAddr>, &str> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map(|it: IpAddr| it.to_canonical()).map_err(|_| part)).collect()
}

/// The same block as one of IPv4 addresses, where those are all that it has: peers are compared as such.
fn canonical(address: IpAddr, bits: u8) -> (IpAddr, u8) {
    match (address.to_canonical(), bits.checked_sub(MAPPED_BITS)) {
        (mapped @ IpAddr::V4(_), Some(bits)) if address.is_ipv6() => (mapped, bits),
        _ => (address, bits),
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The bits of an address, the first ones foremost.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

fn masked(address: IpAddr, bits: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    number(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_contains_the_addresses_with_its_first_bits() {
        for (block, address, contained) in [
            ("10.1.0.0/16", "10.1.2.3", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.0/31", "10.1.2.1", true),
            ("10.1.2.0/31", "10.1.2.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.1.0.0/16", "::ffff:10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("::ffff:10.1.2.3", "::ffff:10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.4", false),
            ("::ffff:10.1.0.0/112", "10.1.2.3", true),
            ("::ffff:10.1.0.0/112", "10.2.0.1", false),
            ("::ffff:0:0/96", "192.0.2.1", true),
            ("::ffff:0:0/96", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "::1", true),
            ("::/0", "127.0.0.1", false),
            ("::1", "::1", true),
        ] {
            let parsed: AddressBlock = block.parse().unwrap();
            let address = address.parse().unwrap();
            assert_eq!(parsed.contains(address), contained, "{block} {address}");
        }
    }

    #[test]
    fn haproxy_gets_no_line_for_its_log() {
        for (kind, software, takes) in [
            (FrontEnd::Auto, "HAProxy 2.6.12-1+deb12u4", false),
            (FrontEnd::Auto, "nginx/1.22.1", true),
            (FrontEnd::Auto, "", true),
            (FrontEnd::Haproxy, "", false),
            (FrontEnd::Nginx, "nginx/1.22.1", true),
        ] {
            let ends = FrontEnds { kind, ..FrontEnds::default() };
            assert_eq!(ends.takes_log_lines(software.as_bytes()), takes, "{kind:?} {software}");
        }
    }

    #[test]
    fn text_that_is_no_block_is_refused() {
        for (text, why) in [
            ("", BadBlock::Address),
            ("example.com", BadBlock::Address),
            ("10.1", BadBlock::Address),
            ("10.0.0.0/33", BadBlock::Bits),
            ("10.0.0.0/", BadBlock::Bits),
            ("10.0.0.0/-1", BadBlock::Bits),
            ("10.0.0.0/255.0.0.0", BadBlock::Bits),
            ("10.0.0.1/8", BadBlock::HostBits),
            ("2001:db8::1/32", BadBlock::HostBits),
        ] {
            assert_eq!(text.parse::<AddressBlock>(), Err(why), "{text}");
        }
    }

    #[test]
    fn web_server_needs_what_each_restriction_asks() {
        let block = |text: &str| Some(vec![text.parse().unwrap()]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut ends = FrontEnds::default();
        assert!(ends.admits(address("10.0.0.1")) && !ends.is_restricted());
        ends.allow = block("10.0.0.0/8");
        assert!(ends.admits(address("10.0.0.1")) && !ends.admits(address("127.0.0.1")));
        ends.web_servers = Some(web_server_addresses("10.0.0.2, ::ffff:192.0.2.1,").unwrap());
        assert!(ends.admits(address("10.0.0.2")) && !ends.admits(address("10.0.0.1")));
        assert!(!ends.admits(address("192.0.2.1")));
        ends.allow = None;
        assert!(ends.admits(address("192.0.2.1")) && ends.is_restricted());
        assert!(ends.check_peer(Some(address("192.0.2.1"))).is_ok());
        assert!(ends.check_peer(Some(address("192.0.2.2"))).unwrap_err().contains(" 192.0.2.2 "));
        assert!(FrontEnds::default().check_peer(None).is_err());
        assert_eq!(web_server_addresses("10.0.0.1,here"), Err("here"));
    }
}
