//! How many clients Apache serves at once, from the threads of the application. Pure arithmetic, for WSGI that of
//! mod_wsgi-express.

use crate::options::{Capacity, Interface};
use serde::Serialize;

/// Limits of the multi-processing modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sizing {
    /// `MaxRequestWorkers` under event and worker.
    pub(crate) max_request_workers: u32,
    pub(crate) threads_per_child: u32,
    /// Twice the children that serve at once: at a graceful restart the old ones need slots beside the new ones.
    pub(crate) server_limit: u32,
    pub(crate) start_servers: u32,
    pub(crate) min_spare_threads: u32,
    pub(crate) max_spare_threads: u32,
    /// Of the event MPM; `None`: Apache's own.
    pub(crate) async_request_worker_factor: Option<u32>,
    pub(crate) prefork: Prefork,
}

/// Applications of ASGI: threads of a child of Apache, clients at once, and connections that hold no thread for each idle
/// thread.
const ASGI_THREADS_PER_CHILD: u32 = 64;
const ASGI_CLIENTS: u32 = 2 * ASGI_THREADS_PER_CHILD;
const ASGI_FACTOR: u32 = 16;

/// The same under prefork, where a process serves one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Prefork {
    pub(crate) max_request_workers: u32,
    pub(crate) start_servers: u32,
    pub(crate) min_spare_servers: u32,
    pub(crate) max_spare_servers: u32,
}

impl Sizing {
    /// `processes`: the most there are of the application.
    pub(crate) fn new(
        options: &Capacity,
        processes: u32,
        embedded: bool,
        interface: Interface,
    ) -> Self {
        let concurrent = processes.saturating_mul(options.threads);
        if interface == Interface::Asgi {
            return Self::asynchronous(options);
        }
        if embedded {
            return Self::embedded(options.threads, processes, concurrent);
        }
        let clients = match options.max_clients {
            Some(clients) => clients.max(concurrent),
            None => 10 + (concurrent.saturating_mul(3) / 2).max(10),
        };
        let threads_per_child = if clients > 20 { clients / (clients / 20 + 1) } else { 10 };
        let children = clients.div_ceil(threads_per_child);
        let (initial, least, most) =
            (options.initial_workers, options.minimum_spare_workers, options.maximum_spare_workers);
        let spare = |fraction: f64| part(fraction, children) * threads_per_child;
        let start = initial.unwrap_or(0.2);
        let prefork_start = initial.unwrap_or(0.05);
        Self {
            max_request_workers: children * threads_per_child,
            threads_per_child,
            server_limit: children * 2,
            start_servers: part(start, children),
            min_spare_threads: spare(least.unwrap_or(start)),
            max_spare_threads: spare(most.unwrap_or(0.6)),
            prefork: Prefork {
                max_request_workers: clients,
                start_servers: part(prefork_start, clients),
                min_spare_servers: part(least.unwrap_or(prefork_start), clients),
                max_spare_servers: part(most.unwrap_or(0.1), clients),
            },
            async_request_worker_factor: None,
        }
    }

    /// How much a process has under way has nothing to do with its threads.
    fn asynchronous(options: &Capacity) -> Self {
        let threads_per_child = ASGI_THREADS_PER_CHILD;
        let clients = options.max_clients.unwrap_or(ASGI_CLIENTS);
        let children = clients.div_ceil(threads_per_child).max(1);
        let (initial, least, most) =
            (options.initial_workers, options.minimum_spare_workers, options.maximum_spare_workers);
        let spare = |fraction: f64| part(fraction, children) * threads_per_child;
        Self {
            max_request_workers: children * threads_per_child,
            threads_per_child,
            server_limit: children * 2,
            start_servers: part(initial.unwrap_or(0.2), children),
            min_spare_threads: least.map_or(threads_per_child / 2, spare),
            // A child with open streams is not to be ended because its threads are idle.
            max_spare_threads: spare(most.unwrap_or(1.0)),
            prefork: Prefork {
                max_request_workers: clients,
                start_servers: part(initial.unwrap_or(0.05), clients),
                min_spare_servers: part(least.unwrap_or(0.05), clients),
                max_spare_servers: part(most.unwrap_or(0.1), clients),
            },
            async_request_worker_factor: Some(ASGI_FACTOR),
        }
    }

    /// All processes of Apache have Python, and all are there from the start.
    fn embedded(threads: u32, processes: u32, concurrent: u32) -> Self {
        Self {
            max_request_workers: concurrent,
            threads_per_child: threads,
            server_limit: processes * 2,
            start_servers: processes,
            min_spare_threads: concurrent,
            max_spare_threads: concurrent,
            prefork: Prefork {
                max_request_workers: concurrent,
                start_servers: concurrent,
                min_spare_servers: concurrent,
                max_spare_servers: concurrent,
            },
            async_request_worker_factor: None,
        }
    }
}

/// A part of a whole, at least 1.
fn part(fraction: f64, whole: u32) -> u32 {
    // The fraction is from 0 to 1, so that the product is a number of u32.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to `whole`"
    )]
    let part = (fraction * f64::from(whole)) as u32;
    part.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        capacity: Capacity,
    }

    fn sizing(words: &[&str], processes: u32, embedded: bool) -> Sizing {
        let words = std::iter::once("x").chain(words.iter().copied());
        let capacity = Line::parse_from(words).capacity;
        Sizing::new(&capacity, processes, embedded, Interface::Auto)
    }

    #[test]
    fn clients_follow_from_processes_and_threads() {
        let one = sizing(&[], 1, false);
        assert_eq!((one.max_request_workers, one.threads_per_child, one.server_limit), (20, 10, 4));
        let four = sizing(&["--threads", "15"], 4, false);
        assert_eq!((four.max_request_workers, four.threads_per_child), (112, 16));
        assert_eq!(four.server_limit, 14);
        let most = sizing(&["--max-clients", "3"], 2, false);
        assert_eq!(most.max_request_workers, 10, "never fewer than threads of the application");
    }

    #[test]
    fn clients_of_asgi_have_nothing_to_do_with_threads_of_the_application() {
        let sizing = |words: &[&str]| {
            let words = std::iter::once("x").chain(words.iter().copied());
            Sizing::new(&Line::parse_from(words).capacity, 2, false, Interface::Asgi)
        };
        let usual = sizing(&[]);
        assert_eq!(usual, sizing(&["--threads", "50"]));
        assert_eq!((usual.max_request_workers, usual.server_limit), (128, 4));
        assert_eq!((usual.min_spare_threads, usual.max_spare_threads), (32, 128));
        let many = sizing(&["--max-clients", "1000", "--initial-workers", "1"]);
        assert_eq!((many.max_request_workers, many.start_servers), (1024, 16));
        assert_eq!(sizing(&["--max-clients", "1"]).max_request_workers, 64);
    }

    #[test]
    fn embedded_mode_has_a_thread_of_apache_for_each_request() {
        let found = sizing(&[], 2, true);
        assert_eq!((found.max_request_workers, found.threads_per_child), (10, 5));
        assert_eq!((found.start_servers, found.min_spare_threads), (2, 10));
    }
}
