//! Options of metrics and telemetry, and of Python's behaviour.

use clap::Args;

fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Measurement and interpreters")]
pub(crate) struct Measurement {
    /// let applications see Apache's scoreboard, in embedded mode
    #[arg(long)]
    pub(crate) server_metrics: bool,
    /// Apache's status at /server-status, for this machine
    #[arg(long)]
    pub(crate) server_status: bool,
    /// socket of a telemetry service, as in unix:/run/telemetry.sock
    #[arg(long, value_name = "TARGET")]
    pub(crate) telemetry_service: Option<String>,
    /// seconds between two reports
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    pub(crate) telemetry_interval: f64,
    /// seconds after which a request is reported as slow
    #[arg(long, value_name = "SECONDS")]
    pub(crate) slow_requests: Option<f64>,
    /// option of WSGITelemetryOptions
    #[arg(long, value_name = "OPTION")]
    pub(crate) telemetry_options: Vec<String>,
    /// seconds between two switches of Python's threads
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub(crate) switch_interval: Option<f64>,
    /// run a free-threaded Python without its lock
    #[arg(long)]
    pub(crate) free_threading: bool,
    /// run the application in Apache's own processes
    #[arg(long)]
    pub(crate) embedded_mode: bool,
    /// end processes without ending their interpreters
    #[arg(long)]
    pub(crate) orphan_interpreter: bool,
}
