//! A line of the access log, in the format that start-server gives it.

use super::style::{Style, paint};

/// Suffixes of files that belong to a page.
const STATIC: [&str; 18] = [
    ".css", ".js", ".mjs", ".map", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".avif",
    ".ico", ".woff", ".woff2", ".ttf", ".otf", ".mp4", ".webm",
];

/// A request that has been answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct RequestLine {
    pub(crate) time: String,
    pub(crate) client: String,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) microseconds: u64,
}

impl RequestLine {
    /// `None` for a line in another format.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [time, client, method, url, status, bytes, microseconds] = fields[..] else {
            return None;
        };
        let text = str::to_owned;
        Some(Self {
            time: text(time),
            client: text(client),
            method: text(method),
            url: text(url),
            status: status.parse().ok()?,
            bytes: bytes.parse().ok()?,
            microseconds: microseconds.parse().ok()?,
        })
    }

    /// Whether the request was for a file that belongs to a page, and there is nothing to say about it.
    pub(crate) fn is_static(&self) -> bool {
        let path = self.url.split('?').next().unwrap_or_default().to_ascii_lowercase();
        self.status < 400 && STATIC.iter().any(|suffix| path.ends_with(suffix))
    }

    /// For people: time of day, request, status, duration.
    pub(super) fn text(&self, has_colours: bool) -> String {
        let time = self.time.get(11..19).unwrap_or(&self.time);
        let style = match self.status {
            ..300 => Style::Good,
            300..400 => Style::Plain,
            400..500 => Style::Notice,
            _ => Style::Bad,
        };
        let status = paint(&self.status.to_string(), style, has_colours);
        let time = paint(time, Style::Faint, has_colours);
        let figures = format!("{} {}", duration(self.microseconds), size(self.bytes));
        format!(
            "{time} {status} {:<6} {} {}",
            self.method,
            self.url,
            paint(&figures, Style::Faint, has_colours)
        )
    }
}

/// As in `12 ms`.
pub(super) fn duration(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..1_000_000 => format!("{} ms", microseconds / 1_000),
        _ => format!("{}.{:02} s", microseconds / 1_000_000, microseconds % 1_000_000 / 10_000),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_read_and_printed() {
        let line = "2026-11-29T22:00:01+0000\t127.0.0.1\tGET\t/a?b=c\t200\t1234\t12345";
        let request = RequestLine::parse(line).unwrap();
        assert_eq!(request.text(false), "22:00:01 200 GET    /a?b=c 12 ms 1 kB");
        assert!(!request.is_static());
        assert_eq!(RequestLine::parse("127.0.0.1 - - \"GET / HTTP/1.1\""), None);
        let file = RequestLine { url: "/static/x.CSS?v=1".into(), ..request.clone() };
        assert!(file.is_static());
        assert!(!RequestLine { status: 404, ..file }.is_static());
        assert_eq!(duration(2_345_678), "2.34 s");
    }
}
