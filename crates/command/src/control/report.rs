//! What groups say of themselves when they are asked, several at a time, and how well that is.

use super::connection::Unanswered;
use super::group::Group;
use super::several::ask_each;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What monitoring plugins end with (0 to 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

/// The state of a group.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) group: Group,
    /// What its manager has said.
    pub(super) status: Result<Value, Unanswered>,
}

/// Asks all groups. One whose manager has gone is left out, unless it is the only one.
pub(super) fn reports(groups: Vec<Group>, limit: Duration) -> Vec<Report> {
    let is_only = groups.len() == 1;
    let mut reports = ask_all(groups, |group| status(group, Duration::ZERO, limit));
    // Those whose managers take no connection just now come last and have this time together: a user who may write to the
    // folder of the sockets can make thousands of them.
    let until = Instant::now() + limit;
    let is_busy = |report: &mut Report| matches!(report.status, Err(Unanswered::Busy));
    let busy = reports.extract_if(.., is_busy).map(|report| report.group).collect();
    reports.extend(ask_all(busy, |group| {
        let left = until.saturating_duration_since(Instant::now());
        status(group, left, left)
    }));
    reports.sort_by(|one, other| one.group.cmp(&other.group));
    // A server that was killed leaves its files; the next one that starts in the folder removes them.
    let is_there = |report: &Report| is_only || !matches!(report.status, Err(Unanswered::Gone));
    let has_any = reports.iter().any(is_there);
    reports.retain(|report| !has_any || is_there(report));
    reports
}

/// What `ask` gives for each of the groups.
fn ask_all(
    groups: Vec<Group>,
    ask: impl Fn(&Group) -> Result<Value, Unanswered> + Sync,
) -> Vec<Report> {
    let answers = ask_each(&groups, ask);
    let report = |(group, answer): (Group, Option<_>)| {
        let broken = || Err(Unanswered::Broken("it cannot be asked".to_owned()));
        Report { group, status: answer.unwrap_or_else(broken) }
    };
    groups.into_iter().zip(answers).map(report).collect()
}

/// What the manager of a group says within `limit`, once it has taken a connection within `wait`.
fn status(group: &Group, wait: Duration, limit: Duration) -> Result<Value, Unanswered> {
    let reply = group.ask_within("GET", "/-/status", wait, limit)?;
    if reply.code != 200 {
        return Err(Unanswered::Broken(format!("status {} of HTTP", reply.code)));
    }
    match serde_json::from_str(&reply.body) {
        Ok(Value::Object(mut object)) => {
            // It could say the name of another one.
            object.insert("name".to_owned(), group.name().into());
            object.insert("uid".to_owned(), reply.user.into());
            Ok(Value::Object(object))
        }
        Ok(_) => Err(Unanswered::Broken("it is no object".to_owned())),
        Err(why) => Err(Unanswered::Broken(why.to_string())),
    }
}

impl Report {
    /// How well the group is, and what is wrong.
    pub(super) fn judge(&self) -> (Severity, Option<String>) {
        let status = match &self.status {
            Ok(status) => status,
            Err(why @ (Unanswered::Forbidden | Unanswered::Untrusted(_))) => {
                return (Severity::Unknown, Some(why.to_string()));
            }
            Err(why) => return (Severity::Critical, Some(why.to_string())),
        };
        let ready = number(&status["workers_ready"]);
        let least = number(&status["processes"]["least"]);
        let block = status["start_block"].as_str();
        if self.is_drained() {
            let what = "it is drained: reload puts it back into service".to_owned();
            return (Severity::Warning, Some(what));
        }
        let serves = status["serves"].as_bool().unwrap_or(true);
        match block {
            Some(why) if ready == 0 => (Severity::Critical, Some(why.to_owned())),
            Some(why) => (Severity::Warning, Some(why.to_owned())),
            None if serves && ready < least => {
                (Severity::Warning, Some(format!("{ready} of {least} workers are ready")))
            }
            None => (Severity::Ok, None),
        }
    }

    /// Whether it takes no requests until it is reloaded.
    pub(super) fn is_drained(&self) -> bool {
        let condition = self.status.as_ref().ok().and_then(|status| status["condition"].as_str());
        matches!(condition, Some("draining" | "drained"))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let (severity, why) = self.judge();
        let mut value = match &self.status {
            Ok(status) => status.clone(),
            Err(_) => json!({ "name": self.group.name() }),
        };
        value["severity"] = severity.name().into();
        value["problem"] = why.into();
        value["server_pid"] = self.group.name.server.into();
        value["socket"] = self.group.path.to_string_lossy().into();
        value
    }

    /// The workers that the group has said it has.
    pub(super) fn workers(&self) -> &[Value] {
        let workers = self.status.as_ref().ok().and_then(|status| status["workers"].as_array());
        workers.map_or(&[], Vec::as_slice)
    }
}

impl Severity {
    /// The name in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The worse one: what is known to be bad is worse than what is not known.
    pub(super) fn worse(self, other: Self) -> Self {
        let rank = |severity| match severity {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// A number of a group, which may have said anything.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: Result<Value, Unanswered>) -> Severity {
        let group = Group::of_file("/run/wsgi.1.0.site.admin".into()).unwrap();
        Report { group, status }.judge().0
    }

    #[test]
    fn severity_follows_from_what_a_group_says() {
        let status = |ready: u64, block: Option<&str>, condition: &str| {
            let processes = json!({ "least": 2, "most": 2 });
            judged(Ok(json!({ "workers_ready": ready, "processes": processes,
                "start_block": block, "condition": condition, "serves": true })))
        };
        assert_eq!(status(2, None, "ready"), Severity::Ok);
        assert_eq!(status(1, None, "ready"), Severity::Warning);
        assert_eq!(status(0, None, "starting"), Severity::Warning);
        assert_eq!(status(0, Some("x"), "starting"), Severity::Critical);
        assert_eq!(status(1, Some("x"), "ready"), Severity::Warning);
        assert_eq!(status(2, None, "draining"), Severity::Warning);
        assert_eq!(judged(Err(Unanswered::Forbidden)), Severity::Unknown);
        assert_eq!(judged(Err(Unanswered::Gone)), Severity::Critical);
        let says_anything = json!({ "workers_ready": "x", "processes": [], "start_block": 1 });
        assert_eq!(judged(Ok(says_anything)), Severity::Ok);
    }

    #[test]
    fn worst_of_several_is_told() {
        let all = [Severity::Unknown, Severity::Critical, Severity::Ok, Severity::Warning];
        let worst = |some: &[Severity]| some.iter().fold(Severity::Ok, |one, it| one.worse(*it));
        assert_eq!(worst(&all), Severity::Critical);
        assert_eq!(worst(&[Severity::Warning, Severity::Unknown]), Severity::Unknown);
        assert_eq!(worst(&[]), Severity::Ok);
    }
}
