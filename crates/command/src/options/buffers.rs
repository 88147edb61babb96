//! Options of queues and buffers.

use clap::Args;

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Queues and buffers (0: the system's, or mod_wsgi_rs's, own size)")]
pub(crate) struct Buffers {
    /// connections of clients that may wait
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    pub(crate) server_backlog: u32,
    /// connections to a process that may wait
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) daemon_backlog: u32,
    /// send buffer of the socket of a process
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) send_buffer_size: u32,
    /// receive buffer of the socket of a process
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) receive_buffer_size: u32,
    /// longest header line of a response
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) header_buffer_size: u32,
    /// bytes of a response before it is flushed
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) response_buffer_size: u32,
    /// seconds for one write to the client
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) response_socket_timeout: u32,
    /// milliseconds to wait for more output before flushing
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5)]
    pub(crate) response_flush_delay: u32,
    /// let the kernel send files; not for network file systems
    #[arg(long)]
    pub(crate) enable_sendfile: bool,
}
