//! What Apache's processes have counted of the requests of a group, as JSON. The names are those of the status page. It must
//! never know a worker.
#![forbid(unsafe_code)]

use super::apache_counts::ApacheCounts;
use scoreboard::{Histogram, Percentile, RequestCounts};
use serde_json::{Map, Value, json};

/// All requests, and those of the last minute; `None` where none are counted, as in a daemon that is run by hand.
pub(super) fn requests(counts: &ApacheCounts) -> Option<Value> {
    let (all, recent) = (counts.requests()?, counts.recent()?);
    let classes = RequestCounts::CLASS_NAMES.into_iter().zip(recent.counts.classes);
    let classes = classes.map(|(class, count)| (class.to_owned(), Value::from(count)));
    Some(json!({
        "total": all.total(),
        "per_second": recent.per_second(),
        "recent": {
            "window_seconds": seconds(recent.time),
            "total": recent.counts.total(),
            "by_class": classes.collect::<Map<_, _>>(),
            "duration": histogram(&recent.counts.duration),
            "queue": histogram(&recent.counts.queue),
        },
    }))
}

fn histogram(histogram: &Histogram) -> Value {
    let percentile =
        |percent| histogram.percentile(percent).and_then(Percentile::value).map(seconds);
    let (above, bound) = histogram.above();
    json!({
        "count": histogram.count(),
        "sum_seconds": seconds(histogram.sum),
        "p50_seconds": percentile(50),
        "p95_seconds": percentile(95),
        "p99_seconds": percentile(99),
        "bound_seconds": seconds(bound),
        "above_bound": above,
    })
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
