//! Options of the sockets that clients connect to, and of TLS.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Listener and TLS")]
pub(crate) struct Listener {
    /// address to listen on [default: all; 127.0.0.1 with --reload or --debug]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// port for HTTP; the variable PORT sets it too
    #[arg(long, value_name = "NUMBER", default_value_t = 8000)]
    pub(crate) port: u16,
    /// speak HTTP/2 too
    #[arg(long)]
    pub(crate) http2: bool,
    /// for development: HTTPS, too, with a certificate of an authority that is made once for this user
    #[arg(long)]
    pub(crate) https: bool,
    /// port for HTTPS [with --https: 8443 or the next free one]
    #[arg(long, value_name = "NUMBER", alias = "ssl-port")]
    pub(crate) https_port: Option<u16>,
    /// certificate of the server
    #[arg(long, value_name = "FILE")]
    pub(crate) ssl_certificate_file: Option<PathBuf>,
    /// private key of that certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) ssl_certificate_key_file: Option<PathBuf>,
    /// both of them: FILE.crt and FILE.key
    #[arg(long, value_name = "FILE")]
    pub(crate) ssl_certificate: Option<PathBuf>,
    /// certificates of the authorities that sign those of clients
    #[arg(long, value_name = "FILE")]
    pub(crate) ssl_ca_certificate_file: Option<PathBuf>,
    /// URL path for which clients need a certificate
    #[arg(long, value_name = "URL-PATH")]
    pub(crate) ssl_verify_client: Vec<String>,
    /// certificates between that of the server and its authority
    #[arg(long, value_name = "FILE")]
    pub(crate) ssl_certificate_chain_file: Option<PathBuf>,
    /// show the variables of TLS to the application
    #[arg(long)]
    pub(crate) ssl_environment: bool,
    /// redirect HTTP to HTTPS
    #[arg(long)]
    pub(crate) https_only: bool,
    /// value of the header Strict-Transport-Security
    #[arg(long, value_name = "PARAMETERS")]
    pub(crate) hsts_policy: Option<String>,
    /// name of the host; requests for other hosts are refused
    #[arg(long, value_name = "HOST")]
    pub(crate) server_name: Option<String>,
    /// another name of the host
    #[arg(long, value_name = "HOST")]
    pub(crate) server_alias: Vec<String>,
    /// with --server-name, permit requests from this machine for any host
    #[arg(long)]
    pub(crate) allow_localhost: bool,
}
