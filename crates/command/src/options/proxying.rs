//! Options of servers behind this one, and of proxies before it.

use clap::Args;
use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The bits that all IPv4 addresses have in common that are mapped into IPv6.
const MAPPED_PREFIX: u32 = Ipv6Addr::BITS - Ipv4Addr::BITS;

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Proxies")]
pub(crate) struct Proxying {
    /// URL path, and the URL of the server that is asked for it
    #[arg(long, num_args = 2, value_names = ["URL-PATH", "URL"], alias = "proxy-url-alias")]
    pub(crate) proxy_mount_point: Vec<String>,
    /// host, and the URL of the server that is asked for it
    #[arg(long, num_args = 2, value_names = ["HOST", "URL"])]
    pub(crate) proxy_virtual_host: Vec<String>,
    /// header that a trusted proxy sets, as in X-Forwarded-For
    #[arg(long, value_name = "HEADER")]
    pub(crate) trust_proxy_header: Vec<String>,
    /// address or network of a trusted proxy
    #[arg(long, value_name = "ADDRESS", value_parser = unmapped)]
    pub(crate) trust_proxy: Vec<String>,
    /// connections of trusted proxies begin with a header of the PROXY protocol, version 1 or 2, which says who the
    /// client is; others are plain HTTP
    #[arg(long)]
    pub(crate) proxy_protocol: bool,
}

/// An address or a network as Apache compares it: an IPv4 address that is mapped into IPv6 (`::ffff:10.1.0.5`) is one of IPv4
/// there, which no network of IPv6 has. What is no such address is left as it is.
fn unmapped(text: &str) -> Result<String, Infallible> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse().ok()),
        None => (text, Some(Ipv6Addr::BITS)),
    };
    let mapped = address.parse::<Ipv6Addr>().ok().and_then(|address| address.to_ipv4_mapped());
    let length = length.and_then(|length: u32| length.checked_sub(MAPPED_PREFIX));
    Ok(match (mapped, length) {
        (Some(address), Some(Ipv4Addr::BITS)) => address.to_string(),
        (Some(address), Some(length @ ..Ipv4Addr::BITS)) => format!("{address}/{length}"),
        _ => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_address_is_the_one_of_ipv4() {
        for (text, found) in [
            ("::ffff:10.1.0.5", "10.1.0.5"),
            ("::FFFF:a01:5", "10.1.0.5"),
            ("::ffff:10.1.0.0/112", "10.1.0.0/16"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:10.1.0.0/95", "::ffff:10.1.0.0/95"),
            ("::ffff:10.1.0.5/129", "::ffff:10.1.0.5/129"),
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("fd00::/8", "fd00::/8"),
            ("proxy.example", "proxy.example"),
        ] {
            assert_eq!(unmapped(text), Ok(found.to_owned()), "{text}");
        }
    }
}
