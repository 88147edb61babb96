//! Apache's scoreboard for `mod_wsgi.server_metrics()`, where `WSGIServerMetrics` opens it.
#![forbid(unsafe_code)]

use crate::httpd::Scoreboard;
use host::{ServerBoard, ServerProcess, ServerStatus, ServerWorker};

/// The scoreboard of the httpd this process belongs to.
#[derive(Debug)]
pub(crate) struct ApacheStatus;

impl ServerStatus for ApacheStatus {
    fn snapshot(&self) -> Option<ServerBoard> {
        let seconds = |micros: i64| micros as f64 / 1e6;
        let board = Scoreboard::read()?;
        let processes = board.processes.into_iter().map(|process| ServerProcess {
            pid: process.pid,
            generation: process.generation,
            quiescing: process.quiescing,
            workers: process
                .workers
                .into_iter()
                .map(|worker| ServerWorker {
                    generation: worker.generation,
                    status: worker.status,
                    access_count: worker.access_count,
                    bytes_served: worker.bytes_served,
                    start_time: seconds(worker.start_time),
                    stop_time: seconds(worker.stop_time),
                    last_used: seconds(worker.last_used),
                    client: worker.client,
                    request: worker.request,
                    vhost: worker.vhost,
                })
                .collect(),
        });
        Some(ServerBoard {
            server_limit: board.server_limit,
            thread_limit: board.thread_limit,
            generation: board.generation,
            restart_time: seconds(board.restart_time),
            processes: processes.collect(),
        })
    }
}
