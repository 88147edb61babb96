//! The figures of a group for Prometheus: the names and values that the status page of Apache has, as far as they are
//! those of one group. Nothing is changed here but the highest processor time that was told.
#![forbid(unsafe_code)]

use super::group::Group;
use scoreboard::{Exposition, Field, GroupFigures, GroupHistory, ProcessFigures, RequestFigures};
use sys::ProcessUsage;

impl Group {
    /// The group at this moment.
    pub(super) fn metrics(&mut self, is_openmetrics: bool) -> String {
        let events = self.memory.board.counters().read();
        let processes = self.slots.iter().enumerate().flat_map(|(slot, it)| {
            it.workers().map(move |worker| {
                let pid = u32::try_from(worker.pid).unwrap_or(0);
                let ProcessUsage { resident, private, cpu } =
                    ProcessUsage::of_child(pid).unwrap_or_default();
                ProcessFigures { slot, cpu: cpu.saturating_mul(1000), resident, private }
            })
        });
        let processes: Vec<ProcessFigures> = processes.collect();
        let running = processes.iter().map(|it| it.cpu).fold(events.cpu, u64::saturating_add);
        // What a worker has used is in neither figure for a moment when it ends. A counter must not fall.
        let cpu = running.max(self.highest_cpu);
        self.highest_cpu = cpu;
        let sockets = self.config.may_be_asgi().then(|| {
            let open = self.workers().map(|worker| worker.record.get(Field::Sockets));
            open.fold(0, u64::saturating_add)
        });
        let python = self.memory.board.python();
        let mut page = Exposition::new(is_openmetrics, env!("CARGO_PKG_VERSION"));
        page.pythons(&python.map(|it| (&*self.config.name, it)).into_iter().collect::<Vec<_>>());
        if self.config.generation == 0 {
            // Without Apache the daemon is the server.
            let uptime = self.started.elapsed().as_micros();
            page.uptime(u64::try_from(uptime).unwrap_or(u64::MAX));
        }
        let (name, busy) = (&*self.config.name, self.busy());
        if let Some(counts) = self.apache_counts.requests().filter(|_| !self.config.is_service()) {
            let interface = self.interface_name();
            page.requests(&[RequestFigures {
                group: name,
                interface,
                counts: &counts,
                has_queue: true,
            }]);
        }
        page.groups(&[GroupFigures {
            name,
            workers: processes.len() as u64,
            ready: self.workers_ready() as u64,
            capacity: self.config.capacity().into(),
            busy,
            queue_depth: self.apache_counts.queue_depth(busy),
            oldest: self.oldest_request(),
            history: Some(GroupHistory { events, cpu }),
            sockets,
            processes,
            executors: self.executors(),
        }]);
        page.finish()
    }
}
