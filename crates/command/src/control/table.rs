//! Lines of cells below each other, and quantities for people.

use super::printable::printable;
use serde_json::Value;

/// The cells of lines, each column as wide as its widest cell; the first line is the head.
pub(crate) fn table(lines: &[Vec<String>]) -> String {
    let lines: Vec<Vec<String>> =
        lines.iter().map(|line| line.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Seconds as in `3 h 12 m`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10.0 => format!("{:.1} s", seconds.max(0.0)),
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes} m {} s", whole % 60),
        (0, ..) => format!("{hours} h {minutes} m"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Bytes as in `21.3 MB`.
pub(crate) fn megabytes(bytes: &Value) -> String {
    format!("{:.1} MB", bytes.as_f64().unwrap_or(0.0) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_below_each_other() {
        let lines = [["A", "B", "C"], ["longer", "", "c"]];
        let lines = lines.map(|line| line.map(str::to_owned).to_vec());
        assert_eq!(table(&lines), "A       B  C\nlonger     c\n");
    }

    #[test]
    fn quantities_have_their_units() {
        let all = [0.04, 12.9, 61.0, 3700.0, 90_000.0, -1.0, f64::MAX].map(duration);
        assert_eq!(all[..6], ["0.0 s", "12 s", "1 m 1 s", "1 h 1 m", "1 d 1 h", "0.0 s"]);
        assert_eq!(megabytes(&serde_json::json!(21_300_000)), "21.3 MB");
        assert_eq!(megabytes(&Value::Null), "0.0 MB");
    }
}
