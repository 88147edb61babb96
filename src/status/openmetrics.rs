//! The status as Prometheus reads it: what there is, for the writer that the managers of groups have as well. It must never
//! know how that is written.
#![forbid(unsafe_code)]

use super::snapshot::{GroupStatus, Snapshot};
use crate::groups::Configuration;
use scoreboard::{Exposition, GroupFigures, ProcessFigures, RequestFigures};

/// The text.
pub(super) fn page(snapshot: &Snapshot, is_openmetrics: bool) -> String {
    let mut page = Exposition::new(is_openmetrics, env!("CARGO_PKG_VERSION"));
    let own = snapshot.python.map(|python| ("", python));
    let of_groups = snapshot.groups.iter().filter_map(|it| Some((&*it.name, it.python?)));
    page.pythons(&own.into_iter().chain(of_groups).collect::<Vec<_>>());
    page.uptime(snapshot.uptime);
    let Configuration { generation, loaded } = snapshot.configuration;
    page.configuration(generation, loaded);
    let counts = &snapshot.embedded;
    let embedded = RequestFigures { group: "", interface: "wsgi", counts, has_queue: false };
    let groups = snapshot.groups.iter().filter(|group| group.serves).map(|it| RequestFigures {
        group: &it.name,
        interface: it.interface,
        counts: &it.counts,
        has_queue: true,
    });
    page.requests(&[embedded].into_iter().chain(groups).collect::<Vec<_>>());
    page.groups(&snapshot.groups.iter().map(figures).collect::<Vec<_>>());
    page.finish()
}

fn figures(group: &GroupStatus) -> GroupFigures<'_> {
    let processes = group.workers.iter().filter(|worker| worker.pid != 0);
    let processes = processes.map(|worker| ProcessFigures {
        slot: worker.slot,
        cpu: worker.usage.cpu.saturating_mul(1000),
        resident: worker.usage.resident,
        private: worker.usage.private,
    });
    let processes: Vec<ProcessFigures> = processes.collect();
    GroupFigures {
        name: &group.name,
        workers: processes.len() as u64,
        ready: group.ready(),
        capacity: group.capacity,
        busy: group.busy(),
        queue_depth: Some(group.queue_depth),
        oldest: group.oldest(),
        events: group.events,
        sockets: group.sockets,
        cpu: group.cpu,
        processes,
        executors: group.executors,
    }
}
