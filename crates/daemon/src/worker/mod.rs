//! A worker process: Python, the threads that serve requests, and the threads beside them.
//! It never starts or replaces another worker.
#![forbid(unsafe_code)]

mod acceptor;
mod asgi;
mod connection;
mod connections;
mod drain;
mod error;
mod error_response;
mod exchange;
mod failed_loads;
mod fd_limit;
mod file_version;
mod gil_probe;
mod hang_report;
mod host_options;
mod interface;
mod life_cycle;
mod loaded_scripts;
mod log_records;
mod manager_channel;
mod mount;
mod oldest_request;
mod periodic_thread;
mod pool;
mod python;
mod recycling;
mod reloader;
mod resource_limits;
mod response_claim;
mod response_head;
mod sampler;
mod scheduler;
mod service;
mod serving;
mod siblings;
mod signal_events;
mod stack_report;
mod stack_reporter;
mod stop_report;
mod supervise;
mod target;
mod template;
mod threads;
mod variables;
mod warm_up;
mod worker_thread;

pub(crate) use life_cycle::run;
pub(crate) use python::Python;
pub(crate) use template::run as run_template;
