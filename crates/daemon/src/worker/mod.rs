//! A worker process: Python, the threads that serve requests, and the threads beside them.
//! It never starts or replaces another worker.
#![forbid(unsafe_code)]

mod connection;
mod drain;
mod exchange;
mod fd_limit;
mod file_time;
mod forks;
mod life_cycle;
mod periodic_thread;
mod pool;
mod python;
mod recycling;
mod reloader;
mod resource_limits;
mod response_claim;
mod scheduler;
mod service;
mod signal_events;
mod supervise;
mod target;
mod template;
mod threads;
mod warm_up;

pub(crate) use life_cycle::run;
pub(crate) use template::run as run_template;
