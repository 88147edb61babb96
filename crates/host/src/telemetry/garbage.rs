//! The garbage collections of one interpreter, as its `gc.callbacks` report them.
#![forbid(unsafe_code)]

use super::datagram::Datagram;
use super::field;
use crate::cpython::{Attached, Class, Instance, Object, Result, Slots};
use crate::observe::metrics::seconds_now;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The collections that have not been sent.
#[derive(Default)]
pub(crate) struct Collections(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    /// The start of the collection that is under way: seconds since the epoch, and the monotonic time.
    begun: Option<(f64, Instant)>,
    ended: VecDeque<Collection>,
    dropped: u64,
}

/// One collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collection {
    start: f64,
    duration: f64,
    generation: u64,
    collected: u64,
    uncollectable: u64,
}

/// How many collections are kept, the newest.
const CAPACITY: usize = 256;

impl Collections {
    /// At most `most` collections, the oldest first.
    pub(super) fn take(&self, most: usize) -> Vec<Collection> {
        let mut ring = self.ring();
        let count = most.min(ring.ended.len());
        ring.ended.drain(..count).collect()
    }

    /// How many were dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.ring().dropped)
    }

    fn begin(&self) {
        self.ring().begun = Some((seconds_now(), Instant::now()));
    }

    fn end(&self, figures: [u64; 3]) {
        let mut ring = self.ring();
        let Some((start, begun)) = ring.begun.take() else { return };
        if ring.ended.len() >= CAPACITY {
            ring.ended.pop_front();
            ring.dropped += 1;
        }
        let [generation, collected, uncollectable] = figures;
        let duration = begun.elapsed().as_secs_f64();
        ring.ended.push_back(Collection { start, duration, generation, collected, uncollectable });
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collection {
    pub(super) fn fill(&self, datagram: &mut Datagram) {
        datagram.float(field::COLLECTION_START, self.start);
        datagram.float(field::COLLECTION_DURATION, self.duration);
        datagram.count(field::COLLECTION_GENERATION, self.generation);
        datagram.count(field::COLLECTION_COLLECTED, self.collected);
        datagram.count(field::COLLECTION_UNCOLLECTABLE, self.uncollectable);
    }
}

/// The callback in `gc.callbacks`.
struct GcCallback(Arc<Collections>);

impl Class for GcCallback {
    const NAME: &'static CStr = c"mod_wsgi.GcCallback";
    const SLOTS: Slots<Self> = Slots { call: Some(on_gc_event), ..Slots::NONE };
}

/// Adds a callback to the interpreter's `gc.callbacks` that records its collections.
pub(crate) fn watch_garbage(py: Attached<'_>) -> Result<'_, Arc<Collections>> {
    let collections = Arc::<Collections>::default();
    let watch = GcCallback(Arc::clone(&collections));
    let watch = py.class::<GcCallback>()?.instantiate(watch)?;
    py.import(c"gc")?.attribute(c"callbacks")?.append(&watch)?;
    Ok(collections)
}

/// `callback(phase, info)`.
fn on_gc_event<'py>(
    this: &Instance<'_, 'py, GcCallback>,
    arguments: &Object<'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    let phase = arguments.sequence_item(0)?.to_text()?;
    if phase == "start" {
        this.0.begin();
    } else {
        let info = arguments.sequence_item(1)?;
        let number = |name| number_in(&info, name);
        this.0.end([number("generation")?, number("collected")?, number("uncollectable")?]);
    }
    Ok(py.none())
}

/// Adds the collector's counters and thresholds, as they are now.
pub(super) fn fill_snapshot<'py>(py: Attached<'py>, datagram: &mut Datagram) -> Result<'py, ()> {
    let gc = py.import(c"gc")?;
    let pairs = [(field::GC_COUNT, c"get_count"), (field::GC_THRESHOLD, c"get_threshold")];
    for (first, method) in pairs {
        let numbers = gc.call_method(method, [])?;
        for (field, index) in (first..).zip(0..numbers.sequence_length().min(3)) {
            datagram.count(field, unsigned(numbers.sequence_item(index)?.as_i64()?));
        }
    }
    let generations = gc.call_method(c"get_stats", [])?;
    for (first, name) in [
        (field::GC_COLLECTIONS, "collections"),
        (field::GC_COLLECTED, "collected"),
        (field::GC_UNCOLLECTABLE, "uncollectable"),
    ] {
        for (field, index) in (first..).zip(0..generations.sequence_length().min(3)) {
            datagram.count(field, number_in(&generations.sequence_item(index)?, name)?);
        }
    }
    let is_enabled = gc.call_method(c"isenabled", [])?.is_true()?;
    datagram.count(field::GC_IS_ENABLED, u64::from(is_enabled));
    let frozen = gc.call_method(c"get_freeze_count", [])?.as_i64()?;
    datagram.count(field::GC_FROZEN, unsigned(frozen));
    Ok(())
}

fn number_in<'py>(table: &Object<'py>, name: &str) -> Result<'py, u64> {
    match table.item(&table.py().interned(name)?)? {
        Some(number) => number.as_i64().map(unsigned),
        None => Ok(0),
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_collections_are_kept() {
        let collections = Collections::default();
        collections.end([9, 9, 9]);
        assert!(collections.take(9).is_empty(), "it has not begun");
        for number in 0..300 {
            collections.begin();
            collections.end([number, 0, 0]);
        }
        assert_eq!((collections.take_dropped(), collections.take_dropped()), (44, 0));
        let generations =
            |most| collections.take(most).iter().map(|it| it.generation).collect::<Vec<_>>();
        assert_eq!(generations(2), [44, 45]);
        assert_eq!(generations(1000), (46..300).collect::<Vec<_>>());
    }
}
