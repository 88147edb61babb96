//! Options of time, in seconds.

use clap::Args;

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Timeouts (seconds; 0 turns one off)")]
pub(crate) struct Timeouts {
    /// time in which the application must be loaded
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) startup_timeout: u32,
    /// time in which a process must exit before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) shutdown_timeout: u32,
    /// age at which a process is replaced
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) restart_interval: u32,
    /// processor time after which a process is replaced
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) cpu_time_limit: u32,
    /// time to finish requests before a process is replaced, and before the server stops
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) graceful_timeout: u32,
    /// the same after SIGUSR1 to a process [default: graceful-timeout]
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) eviction_timeout: u32,
    /// time for which Python's lock may be unavailable
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) deadlock_timeout: u32,
    /// time without a request after which a process is replaced
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) inactivity_timeout: u32,
    /// URL path whose requests are no activity
    #[arg(long, value_name = "URL-PATH")]
    pub(crate) ignore_activity: Vec<String>,
    /// longest duration of a request [default: 60; 0 for ASGI, whose event streams and long polls may last]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) request_timeout: Option<u32>,
    /// time in which a request beyond --request-timeout must end, once mod_wsgi.RequestTimeout is raised in it, or its task
    /// of ASGI is cancelled
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) interrupt_timeout: u32,
    /// time in which Apache must be connected to a process
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) connect_timeout: u32,
    /// time for one read or write
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) socket_timeout: u32,
    /// time in which a server behind --proxy-mount-point must respond
    #[arg(long, value_name = "SECONDS")]
    pub(crate) proxy_timeout: Option<u32>,
    /// time for which a request may wait for a thread
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    pub(crate) queue_timeout: u32,
    /// time in which the headers of a request must come
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) header_timeout: u32,
    /// the same where they come at --header-min-rate
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) header_max_timeout: u32,
    /// bytes that extend --header-timeout by a second
    #[arg(long, value_name = "BYTES", default_value_t = 500)]
    pub(crate) header_min_rate: u32,
    /// time in which the body of a request must come
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) body_timeout: u32,
    /// the same where it comes at --body-min-rate
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) body_max_timeout: u32,
    /// bytes that extend --body-timeout by a second
    #[arg(long, value_name = "BYTES", default_value_t = 500)]
    pub(crate) body_min_rate: u32,
    /// time for which a connection is kept for another request
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub(crate) keep_alive_timeout: u32,
}
