//! What top shows: groups and their workers, which of them and in what order, which one is selected. It draws nothing and
//! asks nothing.

use super::figures::{Before, Figures, History, capacity, p95, real};
use super::source::StacksOf;
use crate::control::group::Group;
use crate::control::printable::printable;
use crate::control::report::{Report, number};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often the stacks on the screen are asked for again.
const STACKS_INTERVAL: Duration = Duration::from_secs(3);

/// What rows are sorted by: the largest first, but for names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Name,
    Rate,
    Busy,
    Waiting,
    Oldest,
    Memory,
    Cpu,
}

/// A group, or a worker of the group above it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) group: Group,
    /// The worker's process id; `None` for a group.
    pub(super) pid: Option<u64>,
    /// The name of the group, or process id and slot.
    pub(super) name: String,
    pub(super) state: String,
    pub(super) figures: Figures,
    /// The 95th percentiles of duration and time in the queue, of a group.
    pub(super) p95: [String; 2],
    /// The request that has taken longest, or what is wrong.
    pub(super) text: String,
    /// The group does not answer.
    pub(super) is_broken: bool,
}

/// The stacks that are on the screen.
#[derive(Clone, Debug)]
pub(super) struct Stacks {
    pub(super) of: StacksOf,
    /// `None` until they have come.
    pub(super) text: Option<String>,
    pub(super) scroll: u16,
    asked: Instant,
    is_waiting: bool,
}

/// What is known of the groups, and what the user has chosen.
#[derive(Default)]
pub(super) struct State {
    /// Each group's row, with those of its workers.
    groups: Vec<(Row, Vec<Row>)>,
    histories: BTreeMap<Group, History>,
    before: BTreeMap<Group, Before>,
    selected: Option<(Group, Option<u64>)>,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) is_filtering: bool,
    pub(super) stacks: Option<Stacks>,
    /// Why there are no groups.
    pub(super) error: Option<String>,
    /// The first row on the screen.
    pub(super) offset: usize,
}

impl Order {
    pub(super) const ALL: [Self; 7] =
        [Self::Name, Self::Rate, Self::Busy, Self::Waiting, Self::Oldest, Self::Memory, Self::Cpu];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Oldest => "oldest",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }

    /// The one behind it.
    pub(super) fn next(self) -> Self {
        let place = Self::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Self::ALL.get(place + 1).copied().unwrap_or_default()
    }

    fn compare(self, one: &Row, other: &Row) -> Ordering {
        let value = |row: &Row| match self {
            Self::Name => 0.0,
            Self::Rate => row.figures.rate,
            Self::Busy => row.figures.busy as f64,
            Self::Waiting => row.figures.waiting.unwrap_or(0) as f64,
            Self::Oldest => row.figures.oldest,
            Self::Memory => row.figures.memory as f64,
            Self::Cpu => row.figures.cpu,
        };
        // Rows that are equal keep their places.
        value(other).total_cmp(&value(one)).then_with(|| one.group.cmp(&other.group))
    }
}

impl State {
    /// Takes over what the groups have answered.
    pub(super) fn note(&mut self, groups: Result<Vec<Report>, String>, at: Instant) {
        let reports = match groups {
            Ok(reports) => reports,
            Err(why) => {
                self.error = Some(printable(&why));
                self.groups.clear();
                return;
            }
        };
        self.error = None;
        self.groups = reports.iter().map(|report| self.rows_of(report, at)).collect();
        for (row, _) in &self.groups {
            self.histories.entry(row.group.clone()).or_default().note(&row.figures);
        }
        let is_there = |group: &Group| self.groups.iter().any(|(row, _)| row.group == *group);
        self.histories.retain(|group, _| is_there(group));
        self.before.retain(|group, _| is_there(group));
    }

    fn rows_of(&mut self, report: &Report, at: Instant) -> (Row, Vec<Row>) {
        let old = self.before.remove(&report.group).unwrap_or_default();
        let (mut before, capacity) = (Before::new(), capacity(report));
        let mut all = Figures::default();
        let mut workers = Vec::new();
        for worker in report.workers() {
            let Some(pid) = worker["pid"].as_u64() else { continue };
            if let Some(known) = old.get(&pid) {
                before.insert(pid, *known);
            }
            let figures = Figures::of(worker, capacity, &mut before, at);
            all.add(&figures);
            let requests = worker["requests"].as_array().map_or(&[][..], Vec::as_slice);
            let age = |request: &&serde_json::Value| real(&request["age_seconds"]);
            let oldest = requests.iter().max_by(|one, other| age(one).total_cmp(&age(other)));
            let line = oldest.and_then(|request| request["line"].as_str()).unwrap_or_default();
            workers.push(Row {
                group: report.group.clone(),
                pid: Some(pid),
                name: format!("  {pid} ({})", number(&worker["slot"])),
                state: printable(worker["state"].as_str().unwrap_or("?")),
                figures,
                p95: Default::default(),
                text: printable(line),
                is_broken: false,
            });
        }
        self.before.insert(report.group.clone(), before);
        let status = report.status.as_ref().ok();
        // Of all workers, also of slots without one.
        all.waiting = status.and_then(|status| status["queue_depth"].as_u64());
        let condition = status.and_then(|status| status["condition"].as_str());
        let problem = report.judge().1;
        let row = Row {
            group: report.group.clone(),
            pid: None,
            name: printable(&report.group.name()),
            state: printable(condition.unwrap_or("?")),
            figures: all,
            p95: ["duration", "queue"].map(|times| p95(report, times)),
            is_broken: problem.is_some(),
            text: printable(&problem.unwrap_or_default()),
        };
        (row, workers)
    }

    /// The rows in their order, as far as the filter lets them through.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let passes = |row: &Row| {
            filter.is_empty()
                || row.name.to_lowercase().contains(&filter)
                || row.text.to_lowercase().contains(&filter)
        };
        let mut groups: Vec<&(Row, Vec<Row>)> = self.groups.iter().collect();
        groups.sort_by(|one, other| self.order.compare(&one.0, &other.0));
        let mut rows = Vec::new();
        for (group, workers) in groups {
            let takes_all = passes(group);
            let mut some: Vec<&Row> =
                workers.iter().filter(|worker| takes_all || passes(worker)).collect();
            some.sort_by(|one, other| self.order.compare(one, other));
            if takes_all || !some.is_empty() {
                rows.push(group);
                rows.extend(some);
            }
        }
        rows
    }

    /// All groups together, and how many groups and workers there are.
    pub(super) fn totals(&self) -> (Figures, usize, usize) {
        let mut all = Figures::default();
        self.groups.iter().for_each(|(row, _)| all.add(&row.figures));
        (all, self.groups.len(), self.groups.iter().map(|(_, workers)| workers.len()).sum())
    }

    /// The place of the selected row among `rows`; the first one where that is gone.
    pub(super) fn place(&self, rows: &[&Row]) -> usize {
        let is_selected = |row: &&Row| {
            self.selected
                .as_ref()
                .is_some_and(|(group, pid)| *group == row.group && *pid == row.pid)
        };
        rows.iter().position(is_selected).unwrap_or(0)
    }

    /// How the selected group has developed.
    pub(super) fn history(&self) -> Option<(&Row, &History)> {
        let rows = self.rows();
        let selected = rows.get(self.place(&rows))?;
        let (group, _) = self.groups.iter().find(|(row, _)| row.group == selected.group)?;
        Some((group, self.histories.get(&group.group)?))
    }

    /// Moves the selection by so many rows.
    pub(super) fn move_selection(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let place = self.place(&rows).saturating_add_signed(by).min(last);
        self.selected = rows.get(place).map(|row| (row.group.clone(), row.pid));
    }

    /// Shows the stacks of the selected worker, or of the group's worker with the oldest request; what is to be asked.
    pub(super) fn open_stacks(&mut self) -> Option<StacksOf> {
        let rows = self.rows();
        let selected = *rows.get(self.place(&rows))?;
        let (group, pid) = (selected.group.clone(), selected.pid);
        let workers = self.groups.iter().find(|(row, _)| row.group == group).map(|it| &it.1)?;
        let oldest = workers.iter().max_by(|a, b| a.figures.oldest.total_cmp(&b.figures.oldest));
        let pid = pid.or_else(|| oldest.and_then(|row| row.pid))?;
        let of = StacksOf { group, pid };
        let asked = Instant::now();
        self.stacks =
            Some(Stacks { of: of.clone(), text: None, scroll: 0, asked, is_waiting: true });
        Some(of)
    }

    /// Takes over stacks that have come.
    pub(super) fn note_stacks(&mut self, pid: u64, text: String) {
        if let Some(stacks) = self.stacks.as_mut().filter(|stacks| stacks.of.pid == pid) {
            stacks.text = Some(text);
            stacks.is_waiting = false;
        }
    }

    /// What is to be asked again, because what is on the screen is old.
    pub(super) fn stacks_to_refresh(&mut self) -> Option<StacksOf> {
        let stacks = self.stacks.as_mut()?;
        if stacks.is_waiting || stacks.asked.elapsed() < STACKS_INTERVAL {
            return None;
        }
        (stacks.asked, stacks.is_waiting) = (Instant::now(), true);
        Some(stacks.of.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn report(name: &str, workers: &Value) -> Report {
        let path = format!("/run/wsgi.1.0.{name}.admin");
        let least = workers.as_array().map_or(0, Vec::len);
        Report {
            group: Group::of_file(path.into()).unwrap(),
            status: Ok(json!({ "workers": workers, "capacity_per_worker": 2, "condition": "ready",
                "workers_ready": least, "serves": true, "processes": { "least": least } })),
        }
    }

    fn worker(pid: u64, memory: u64, line: &str) -> Value {
        json!({ "pid": pid, "slot": 0, "state": "ready", "resident_bytes": memory, "busy": 1,
            "requests": [{ "age_seconds": pid, "line": line }] })
    }

    fn state() -> State {
        let mut state = State::default();
        let shop = report("shop", &json!([worker(1, 10, "GET /a"), worker(2, 90, "GET /b")]));
        let blog = report("blog", &json!([worker(3, 50, "GET /\u{1b}c")]));
        state.note(Ok(vec![blog, shop]), Instant::now());
        state
    }

    fn names(state: &State) -> Vec<String> {
        state.rows().iter().map(|row| row.name.trim().to_owned()).collect()
    }

    #[test]
    fn rows_are_sorted_and_filtered() {
        let mut state = state();
        assert_eq!(names(&state), ["blog", "3 (0)", "shop", "1 (0)", "2 (0)"]);
        state.order = Order::Memory;
        assert_eq!(names(&state), ["shop", "2 (0)", "1 (0)", "blog", "3 (0)"]);
        "GET /B".clone_into(&mut state.filter);
        assert_eq!(names(&state), ["shop", "2 (0)"]);
        "blog".clone_into(&mut state.filter);
        assert_eq!(names(&state), ["blog", "3 (0)"]);
        assert_eq!(state.rows()[1].text, "GET /\\u{1b}c");
        assert_eq!(Order::ALL.into_iter().fold(Order::Name, |order, _| order.next()), Order::Name);
    }

    #[test]
    fn selection_stays_with_its_row_and_its_stacks_are_asked_for() {
        let mut state = state();
        state.move_selection(4);
        state.order = Order::Memory;
        assert_eq!(state.place(&state.rows()), 1);
        assert_eq!(state.open_stacks().unwrap().pid, 2);
        assert!(state.stacks_to_refresh().is_none());
        state.note_stacks(7, "other".to_owned());
        assert!(state.stacks.as_ref().unwrap().text.is_none());
        state.note_stacks(2, "text".to_owned());
        assert_eq!(state.stacks.as_ref().unwrap().text.as_deref(), Some("text"));
        state.move_selection(-99);
        // Of a group the worker with the oldest request.
        assert_eq!(state.open_stacks().unwrap().pid, 2);
        state.note(Ok(Vec::new()), Instant::now());
        assert!(state.open_stacks().is_none() && state.history().is_none());
        state.move_selection(1);
        state.note(Err("gone\x1b".to_owned()), Instant::now());
        assert_eq!(state.error.as_deref(), Some("gone\\u{1b}"));
    }
}
