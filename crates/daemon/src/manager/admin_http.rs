//! HTTP as the admin sockets speak it: one request and one answer for each connection. It must never know who asks.
#![forbid(unsafe_code)]

use super::admin_order::{Answer, Order};
use crate::probe::{Condition, Probe};
use scoreboard::Exposition;
use wsgi::Level;

/// A request, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpRequest<'r> {
    pub(super) method: &'r str,
    path: &'r str,
    query: &'r str,
    accept: &'r str,
}

/// What a path is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The answer is known.
    Known(Answer),
    /// The group answers.
    Order(Order),
}

impl<'r> HttpRequest<'r> {
    /// The request with this head.
    pub(super) fn parse(head: &'r str) -> Self {
        let mut words = head.split_ascii_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let accept = fields.filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
        let accept = accept.map(|(_, value)| value).next().unwrap_or("");
        Self { method, path, query, accept }
    }

    /// What is asked for.
    pub(super) fn target(&self, condition: Condition) -> Target {
        let order = match self.path.strip_prefix("/-/") {
            Some("status") => Some(Order::Status),
            Some("metrics") => Some(metrics(self.accept.as_bytes())),
            Some("stacks") => match self.value("pid") {
                Some(pid) => pid.parse().ok().map(|pid| Order::Stacks(Some(pid))),
                None => Some(Order::Stacks(None)),
            },
            Some("log-level") => match (self.method, self.value("level")) {
                ("POST", level) => level.and_then(Level::from_name).map(Order::SetLogLevel),
                _ => Some(Order::LogLevel),
            },
            Some("drain") => Some(Order::Drain),
            Some("reload") => Some(Order::Reload),
            Some("recycle") => {
                self.value("pid").and_then(|pid| pid.parse().ok()).map(Order::Recycle)
            }
            _ => return Target::Known(probe(self.path.as_bytes(), condition)),
        };
        let Some(order) = order else {
            let what = "it needs ?pid=NUMBER or ?level=NAME\n";
            return Target::Known(Answer::text("400 Bad Request", what));
        };
        let (allowed, methods) = match order.is_question() {
            true => (matches!(self.method, "GET" | "HEAD"), "GET\n"),
            false => (self.method == "POST", "POST\n"),
        };
        match allowed {
            true => Target::Order(order),
            false => Target::Known(Answer::text("405 Method Not Allowed", methods)),
        }
    }

    fn value(&self, name: &str) -> Option<&'r str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(found, value)| (found == name).then_some(value))
    }
}

/// The question for the figures, of a client with this `Accept`.
fn metrics(accept: &[u8]) -> Order {
    Order::Metrics { is_openmetrics: Exposition::is_openmetrics_wanted(accept) }
}

/// The order in a request over FastCGI for this path, if it is one: of those only questions that anything may ask.
pub(super) fn order_of_path(path: &[u8], accept: &[u8]) -> Option<Order> {
    (path == b"/-/metrics").then(|| metrics(accept))
}

/// The answer to a path that asks how the group is.
pub(super) fn probe(path: &[u8], condition: Condition) -> Answer {
    const UNAVAILABLE: &str = "503 Service Unavailable";
    match (Probe::of_path(path), condition) {
        (Some(Probe::Healthy), _) => Answer::text(Answer::OK, "healthy\n"),
        (Some(Probe::Ready), Condition::Ready) => Answer::text(Answer::OK, "ready\n"),
        (Some(Probe::Ready), Condition::Starting) => Answer::text(UNAVAILABLE, "starting\n"),
        (Some(Probe::Ready), Condition::Draining | Condition::Drained) => {
            Answer::text(UNAVAILABLE, "draining\n")
        }
        (None, _) => Answer::text(
            Answer::NOT_FOUND,
            "there are /-/healthy, /-/ready and /-/metrics; at a Unix socket also /-/status, /-/stacks, /-/log-level, /-/reload, /-/recycle and /-/drain\n",
        ),
    }
}

/// A response, the last one on its connection.
pub(super) fn response(answer: &Answer, with_body: bool) -> String {
    let Answer { status, content_type, body } = answer;
    let length = body.len();
    let body = if with_body { body.as_str() } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(line: &str) -> Target {
        HttpRequest::parse(line).target(Condition::Ready)
    }

    #[test]
    fn requests_are_orders_by_their_path_and_method() {
        for (line, order) in [
            ("GET /-/status HTTP/1.1", Order::Status),
            ("GET /-/metrics HTTP/1.1", Order::Metrics { is_openmetrics: false }),
            (
                "HEAD /-/metrics?a HTTP/1.0\r\nHost: a\r\naccept: application/openmetrics-text\r\n\r\n",
                Order::Metrics { is_openmetrics: true },
            ),
            ("GET /-/stacks HTTP/1.1", Order::Stacks(None)),
            ("GET /-/stacks?pid=7 HTTP/1.1", Order::Stacks(Some(7))),
            ("POST /-/drain HTTP/1.1", Order::Drain),
            ("GET /-/log-level HTTP/1.1", Order::LogLevel),
            ("POST /-/log-level?level=debug HTTP/1.1", Order::SetLogLevel(Level::Debug)),
            ("POST /-/reload?a=b HTTP/1.1", Order::Reload),
            ("POST /-/recycle?a&pid=7 HTTP/1.1", Order::Recycle(7)),
        ] {
            assert_eq!(target(line), Target::Order(order), "{line}");
            assert!(line.contains(order.name()));
        }
    }

    #[test]
    fn what_is_no_order_has_its_answer() {
        for (line, status) in [
            ("GET /-/drain HTTP/1.1", "405"),
            ("POST /-/status HTTP/1.1", "405"),
            ("POST /-/metrics HTTP/1.1", "405"),
            ("POST /-/recycle?pid=x HTTP/1.1", "400"),
            ("POST /-/recycle HTTP/1.1", "400"),
            ("POST /-/log-level?level=loud HTTP/1.1", "400"),
            ("POST /-/log-level HTTP/1.1", "400"),
            ("PUT /-/log-level HTTP/1.1", "405"),
            ("GET /-/stacks?pid=x HTTP/1.1", "400"),
            ("POST /-/stacks HTTP/1.1", "405"),
            ("GET /other HTTP/1.1", "404"),
            ("", "404"),
            ("GET /-/ready HTTP/1.1", "200"),
        ] {
            let Target::Known(answer) = target(line) else { panic!("{line}") };
            assert!(answer.status.starts_with(status), "{line}: {answer:?}");
        }
    }
}
