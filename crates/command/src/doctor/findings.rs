//! What was found, what could not be seen, and how that is told: as sentences or as JSON. No check is known here.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// It works, but slowly, unsafely, or not in all cases.
    Warning,
    /// It does not work.
    Error,
}

/// One sentence about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    severity: Severity,
    /// The name of the check, as in `python-homes`.
    check: &'static str,
    sentence: String,
}

/// A thing that a check could not look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Unseen {
    check: &'static str,
    sentence: String,
}

/// Everything that the checks have said; a sentence is kept once.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    findings: Vec<Finding>,
    unseen: Vec<Unseen>,
}

impl Report {
    pub(super) fn warn(&mut self, check: &'static str, sentence: impl Into<String>) {
        self.add(Severity::Warning, check, sentence.into());
    }

    pub(super) fn error(&mut self, check: &'static str, sentence: impl Into<String>) {
        self.add(Severity::Error, check, sentence.into());
    }

    /// Notes what this user, or this machine, does not show.
    pub(super) fn unseen(&mut self, check: &'static str, sentence: impl Into<String>) {
        let unseen = Unseen { check, sentence: sentence.into() };
        if !self.unseen.contains(&unseen) {
            self.unseen.push(unseen);
        }
    }

    fn add(&mut self, severity: Severity, check: &'static str, sentence: String) {
        let finding = Finding { severity, check, sentence };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// 0, 1 after warnings, 2 after errors.
    pub(super) fn exit_status(&self) -> u8 {
        match self.findings.iter().map(|finding| finding.severity).max() {
            None => 0,
            Some(Severity::Warning) => 1,
            Some(Severity::Error) => 2,
        }
    }

    /// Errors first, then warnings, then what could not be seen, a line for each.
    pub(super) fn text(&self, title: &str) -> String {
        let mut text = format!("{title}\n");
        for (severity, word) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
            for finding in self.findings.iter().filter(|finding| finding.severity == severity) {
                text.push_str(&format!("{word}: {} [{}]\n", finding.sentence, finding.check));
            }
        }
        for unseen in &self.unseen {
            text.push_str(&format!("not seen: {} [{}]\n", unseen.sentence, unseen.check));
        }
        if self.findings.is_empty() {
            text.push_str("nothing wrong was found\n");
        }
        text
    }

    /// One object: `server`, `findings` and `unseen`.
    pub(super) fn json(&self, title: &str) -> String {
        let value = serde_json::json!({
            "server": title, "findings": self.findings, "unseen": self.unseen,
        });
        format!("{value:#}\n")
    }

    /// The sentences of a check, for its test.
    #[cfg(test)]
    pub(super) fn sentences(&self) -> Vec<&str> {
        self.findings.iter().map(|finding| finding.sentence.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_order_follow_from_the_severity() {
        let mut report = Report::default();
        assert_eq!(
            (report.exit_status(), report.text("x")),
            (0, "x\nnothing wrong was found\n".into())
        );
        report.warn("mpm", "slow");
        report.warn("mpm", "slow");
        report.unseen("selinux", "hidden");
        assert_eq!(report.exit_status(), 1);
        report.error("modules", "broken");
        assert_eq!(report.exit_status(), 2);
        assert_eq!(
            report.text("x"),
            "x\nerror: broken [modules]\nwarning: slow [mpm]\nnot seen: hidden [selinux]\n"
        );
        let value: serde_json::Value = serde_json::from_str(&report.json("x")).unwrap();
        assert_eq!(value["findings"][1]["severity"], "error");
        assert_eq!(value["unseen"][0]["check"], "selinux");
    }
}
