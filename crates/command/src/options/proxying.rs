//! Options of servers behind this one, and of proxies before it.

use clap::Args;

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
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) trust_proxy: Vec<String>,
    /// connections of trusted proxies begin with a header of the PROXY protocol, version 1 or 2, which says who the
    /// client is; others are plain HTTP
    #[arg(long)]
    pub(crate) proxy_protocol: bool,
}
