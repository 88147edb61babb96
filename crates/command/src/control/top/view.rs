//! How the state looks on a terminal of any size. It reads no key and asks no manager. Without colours what is selected is reversed, and what is wrong is bold.

use super::state::{Row, State};
use crate::control::table::duration;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Sparkline};

/// A column: its head, its width, and how wide a terminal has to be for it.
const COLUMNS: [(&str, usize, u16); 11] = [
    ("GROUP / PROCESS", 24, 0),
    ("STATE", 8, 34),
    ("REQ/S", 8, 0),
    ("BUSY", 7, 43),
    ("WAIT", 5, 80),
    ("OLDEST", 9, 54),
    ("CPU %", 6, 63),
    ("MEMORY", 9, 73),
    ("SERVED", 9, 96),
    ("P95", 9, 150),
    ("P95 QUEUE", 9, 160),
];
/// What is right of the columns is shown from this width on.
const WIDTH_FOR_TEXT: u16 = 60;
/// Graphs are shown on a terminal of so many rows or more.
const HEIGHT_FOR_GRAPHS: u16 = 16;
/// The rows of the graphs, with that of their titles.
const GRAPHS: u16 = 4;
const KEYS: &str = "q quit  ↑↓ select  Enter stacks  s sort  / filter";
const KEYS_OF_STACKS: &str = "q quit  ↑↓ scroll  Enter back";

pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, has_colours: bool) {
    let area = frame.area();
    let graphs = if area.height >= HEIGHT_FOR_GRAPHS { GRAPHS } else { 0 };
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(graphs),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, top, body, foot] = parts.areas(area);
    let style = Styles { has_colours };
    frame.render_widget(Paragraph::new(Line::styled(summary(state), style.head())), head);
    if graphs > 0 {
        draw_graphs(frame, top, state, &style);
    }
    match &state.stacks {
        Some(_) => draw_stacks(frame, body, state, &style),
        None => draw_rows(frame, body, state, &style),
    }
    let keys = match (&state.stacks, state.is_filtering) {
        (_, true) => format!("filter: {}_", state.filter),
        (Some(_), _) => KEYS_OF_STACKS.to_owned(),
        (None, _) if !state.filter.is_empty() => format!("{KEYS}  (filter: {})", state.filter),
        (None, _) => KEYS.to_owned(),
    };
    frame.render_widget(Paragraph::new(Line::styled(keys, style.faint())), foot);
}

fn summary(state: &State) -> String {
    let (all, groups, workers) = state.totals();
    let waiting = all.waiting.map_or_else(String::new, |count| format!("  waiting {count}"));
    format!(
        "{groups} groups, {workers} workers  {:.1} requests/s  busy {}/{}{waiting}  cpu {:.0} %  {}  by {}",
        all.rate,
        all.busy,
        all.capacity,
        all.cpu,
        bytes(all.memory),
        state.order.name()
    )
}

fn draw_graphs(frame: &mut Frame<'_>, area: Rect, state: &State, style: &Styles) {
    let Some((group, history)) = state.history() else { return };
    let thirds = Layout::horizontal([Constraint::Ratio(1, 3); 3]).spacing(1);
    let figures = &group.figures;
    let graphs = [
        (format!("{}: {:.1} requests/s", group.name, figures.rate), &history.rate, None),
        (
            format!("busy {}/{}", figures.busy, figures.capacity),
            &history.busy,
            Some(figures.capacity),
        ),
        (format!("cpu {:.0} %", figures.cpu), &history.cpu, None),
    ];
    let places: [Rect; 3] = thirds.areas(area);
    for ((title, values, most), place) in graphs.into_iter().zip(places) {
        let halves = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]);
        let [head, graph] = halves.areas(place);
        frame.render_widget(Paragraph::new(title), head);
        // The newest values, on the right.
        let room = usize::from(graph.width);
        let values: Vec<u64> = values.iter().rev().take(room).rev().copied().collect();
        let blank = vec![0; room.saturating_sub(values.len())];
        let values = [blank, values].concat();
        let most = most.or_else(|| values.iter().max().copied()).unwrap_or(0).max(1);
        let bars = Sparkline::default().data(&values).max(most).style(style.graph());
        frame.render_widget(bars, graph);
    }
}

fn draw_rows(frame: &mut Frame<'_>, area: Rect, state: &mut State, style: &Styles) {
    let room = usize::from(area.height).saturating_sub(1);
    let rows = state.rows();
    let place = state.place(&rows);
    // The selected row is always on the screen.
    let offset = state.offset.min(place).max((place + 1).saturating_sub(room));
    let mut lines = vec![Line::styled(head(area.width), style.strong())];
    for (index, row) in rows.iter().enumerate().skip(offset).take(room) {
        let look = match (index == place, row.is_broken, row.pid) {
            (true, ..) => style.selected(),
            (_, true, _) => style.bad(),
            (.., None) => style.strong(),
            _ => Style::default(),
        };
        lines.push(Line::styled(cells(row, area.width), look));
    }
    if rows.is_empty() {
        let why = match (&state.error, state.filter.is_empty()) {
            (Some(why), _) => why.clone(),
            (None, true) => "waiting for an answer".to_owned(),
            (None, false) => "nothing passes the filter".to_owned(),
        };
        lines.push(Line::from(why));
    }
    state.offset = offset;
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_stacks(frame: &mut Frame<'_>, area: Rect, state: &mut State, style: &Styles) {
    let Some(stacks) = &mut state.stacks else { return };
    let text = stacks.text.as_deref().unwrap_or("the worker is asked");
    let lines: Vec<Line<'_>> = text
        .lines()
        .map(|line| match line.starts_with("    ") {
            true => Line::from(line.to_owned()),
            false => Line::styled(line.to_owned(), style.strong()),
        })
        .collect();
    let last = lines.len().saturating_sub(usize::from(area.height));
    stacks.scroll = stacks.scroll.min(u16::try_from(last).unwrap_or(u16::MAX));
    frame.render_widget(Paragraph::new(lines).scroll((stacks.scroll, 0)), area);
}

fn head(width: u16) -> String {
    let columns = COLUMNS.iter().enumerate().filter(|(_, column)| width >= column.2);
    let mut line = String::new();
    columns.for_each(|(index, (head, room, _))| push_cell(&mut line, head, *room, index));
    if width >= WIDTH_FOR_TEXT {
        line.push_str("  REQUEST");
    }
    line
}

fn cells(row: &Row, width: u16) -> String {
    let figures = &row.figures;
    let [p95, queue] = row.p95.clone();
    let values = [
        row.name.clone(),
        row.state.clone(),
        format!("{:.1}", figures.rate),
        format!("{}/{}", figures.busy, figures.capacity),
        figures.waiting.map_or_else(String::new, |count| count.to_string()),
        if figures.busy > 0 { duration(figures.oldest) } else { String::new() },
        format!("{:.0}", figures.cpu),
        bytes(figures.memory),
        figures.served.to_string(),
        p95,
        queue,
    ];
    let columns = COLUMNS.iter().zip(values).enumerate();
    let mut line = String::new();
    for (index, ((_, room, least), value)) in columns {
        if width >= *least {
            push_cell(&mut line, &value, *room, index);
        }
    }
    if width >= WIDTH_FOR_TEXT {
        line.push_str("  ");
        line.push_str(&row.text);
    }
    line
}

/// A cell of that width; the first two columns begin at the left.
fn push_cell(line: &mut String, value: &str, room: usize, column: usize) {
    let value: String = value.chars().take(room).collect();
    let cell = match column {
        0 => format!("{value:room$}"),
        1 => format!(" {value:room$}"),
        _ => format!(" {value:>room$}"),
    };
    line.push_str(&cell);
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// How pieces look.
struct Styles {
    has_colours: bool,
}

impl Styles {
    fn coloured(&self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::default().add_modifier(modifier);
        if self.has_colours { style.fg(colour) } else { style }
    }

    const fn selected(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    const fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn head(&self) -> Style {
        self.coloured(Color::Cyan, Modifier::BOLD)
    }

    fn bad(&self) -> Style {
        self.coloured(Color::Red, Modifier::BOLD)
    }

    fn graph(&self) -> Style {
        self.coloured(Color::Green, Modifier::empty())
    }

    fn faint(&self) -> Style {
        self.coloured(Color::DarkGray, Modifier::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::group::Group;
    use crate::control::report::Report;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;
    use std::time::{Duration, Instant};

    #[test]
    fn graph_of_busy_places_has_the_newest_answer_on_the_right_and_fills_at_the_capacity() {
        let (mut state, begun) = (State::default(), Instant::now());
        for (second, busy) in [(0, 0), (1, 2), (2, 4)] {
            let worker = json!({ "pid": 1, "slot": 0, "state": "ready", "busy": busy });
            let status = json!({ "workers": [worker], "capacity_per_worker": 4, "condition": "ready",
                "workers_ready": 1, "serves": true, "processes": { "least": 1 } });
            let group = Group::of_file("/run/wsgi.1.0.shop.admin".into()).unwrap();
            let report = Report { group, status: Ok(status) };
            state.note(Ok(vec![report]), begun + Duration::from_secs(second));
        }
        // Three graphs of 20 columns, with a column between them.
        let mut terminal = Terminal::new(TestBackend::new(62, HEIGHT_FOR_GRAPHS)).unwrap();
        terminal.draw(|frame| draw(frame, &mut state, false)).unwrap();
        let buffer = terminal.backend().buffer();
        let column =
            |x: u16| (2..5).map(|y| buffer.cell((x, y)).unwrap().symbol()).collect::<String>();
        let title: String = (21..29).map(|x| buffer.cell((x, 1)).unwrap().symbol()).collect();
        assert_eq!(title, "busy 4/4");
        assert_eq!([38, 39, 40].map(column), ["   ", " ▄█", "███"]);
    }
}
