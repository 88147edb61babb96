//! The status as Prometheus reads it: what there is, for the writer that the managers of groups have as well. It must never
//! know how that is written.
#![forbid(unsafe_code)]

use super::snapshot::{ChildrenStatus, GroupStatus, Snapshot, WorkerStatus};
use crate::groups::Configuration;
use scoreboard::{Exposition, GroupFigures, GroupHistory, ProcessFigures, RequestFigures};

/// The text.
pub(super) fn page(snapshot: &Snapshot, is_openmetrics: bool) -> String {
    let mut page = Exposition::new(is_openmetrics, env!("CARGO_PKG_VERSION"));
    let own = snapshot.python.map(|python| ("", python));
    let of_groups = snapshot.groups.iter().filter_map(|it| Some((&*it.name, it.python?)));
    page.pythons(&own.into_iter().chain(of_groups).collect::<Vec<_>>());
    page.uptime(snapshot.uptime);
    let Configuration { generation, loaded } = snapshot.configuration;
    page.configuration(generation, loaded);
    let counts = &snapshot.embedded.all;
    let embedded = RequestFigures { group: "", interface: "wsgi", counts, has_queue: false };
    let groups = snapshot.groups.iter().filter(|group| group.serves).map(|it| RequestFigures {
        group: &it.name,
        interface: it.interface,
        counts: &it.requests.all,
        has_queue: true,
    });
    page.requests(&[embedded].into_iter().chain(groups).collect::<Vec<_>>());
    let children = snapshot.children.iter().map(own_figures);
    page.groups(&children.chain(snapshot.groups.iter().map(figures)).collect::<Vec<_>>());
    page.finish()
}

/// Those of Apache's own processes, whose starts and exits are not counted.
fn own_figures(all: &ChildrenStatus) -> GroupFigures<'_> {
    let processes = processes(&all.children);
    GroupFigures {
        name: "",
        workers: processes.len() as u64,
        ready: all.ready(),
        capacity: all.threads,
        busy: all.busy(),
        queue_depth: None,
        oldest: all.oldest(),
        history: None,
        sockets: None,
        processes,
        executors: None,
    }
}

fn processes(workers: &[WorkerStatus]) -> Vec<ProcessFigures> {
    let processes = workers.iter().filter(|worker| worker.pid != 0);
    let processes = processes.map(|worker| ProcessFigures {
        slot: worker.slot,
        cpu: worker.usage.cpu.saturating_mul(1000),
        resident: worker.usage.resident,
        private: worker.usage.private,
    });
    processes.collect()
}

fn figures(group: &GroupStatus) -> GroupFigures<'_> {
    let processes = processes(&group.workers);
    GroupFigures {
        name: &group.name,
        workers: processes.len() as u64,
        ready: group.ready(),
        capacity: group.capacity,
        busy: group.busy(),
        queue_depth: Some(group.queue_depth),
        oldest: group.oldest(),
        history: Some(GroupHistory { events: group.events, cpu: group.cpu }),
        sockets: group.sockets,
        processes,
        executors: group.executors,
    }
}
