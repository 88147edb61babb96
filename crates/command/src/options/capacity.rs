//! Options of how much is served at once.

use clap::Args;

fn fraction(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("not from 0 to 1".to_owned()) }
}

/// `4`, or `1-4`.
fn processes(text: &str) -> Result<String, String> {
    let number = |text: &str| text.parse::<u32>().is_ok_and(|number| number <= 10_000);
    let valid = match text.split_once('-') {
        Some((least, most)) => number(least) && number(most),
        None => number(text) && text != "0",
    };
    if valid {
        Ok(text.to_owned())
    } else {
        Err("not a number of processes, or MIN-MAX".to_owned())
    }
}

#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Capacity")]
pub(crate) struct Capacity {
    /// number of processes, or MIN-MAX; the variable WEB_CONCURRENCY sets it too [default: the number of processors; 1 with
    /// --reload or --debug]
    #[arg(long, value_name = "NUMBER", value_parser = processes)]
    pub(crate) processes: Option<String>,
    /// requests that a process serves at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=65533))]
    pub(crate) threads: u32,
    /// clients that Apache serves at the same time [default: calculated from processes and threads]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_clients: Option<u32>,
    /// part of Apache's threads that is started first, from 0 to 1
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    pub(crate) initial_workers: Option<f64>,
    /// part of them that is at least kept idle
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    pub(crate) minimum_spare_workers: Option<f64>,
    /// part of them that is at most kept idle
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    pub(crate) maximum_spare_workers: Option<f64>,
    /// longest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 10_485_760)]
    pub(crate) limit_request_body: u64,
    /// requests after which a process is replaced; 0 for never
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) maximum_requests: u32,
    /// up to so many requests more, at random
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) maximum_requests_jitter: u32,
    /// resident bytes at which a process is replaced; 0 for never
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) maximum_memory: u64,
    /// load the application once and fork the processes from there
    #[arg(long)]
    pub(crate) preload: bool,
    /// request that a new process answers before it serves clients
    #[arg(long, value_name = "URL-PATH")]
    pub(crate) warm_up: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_a_number_or_a_range() {
        for good in ["1", "4", "0-4", "2-10000"] {
            assert_eq!(processes(good).as_deref(), Ok(good));
        }
        for bad in ["0", "", "-", "4-", "x", "10001", "1-2-3"] {
            assert!(processes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fraction_is_from_0_to_1() {
        assert_eq!(fraction("0.5"), Ok(0.5));
        assert!(fraction("1.5").is_err() && fraction("x").is_err() && fraction("NaN").is_err());
    }
}
