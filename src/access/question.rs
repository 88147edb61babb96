//! A question to a script of the server's own: which function of which script, and why an answer does not
//! count. How Python is asked is `host`'s affair, and what an answer means that of the hook that asks.
#![forbid(unsafe_code)]

use super::script_exchange::{Environment, ScriptExchange};
use crate::child::Child;
use crate::config::{self, Script, Settings};
use crate::file_version::version;
use crate::httpd::Request;
use crate::request_names::RequestNames;
use host::{Answer, Question, Reloading, ScriptFile, Unanswered};
use wsgi::Level;

/// A function of a script.
pub(super) struct ScriptCall<'a> {
    pub(super) script: &'a Script,
    pub(super) function: &'static str,
    /// The code of the line that says that there is no interpreter.
    pub(super) code: &'static str,
}

/// Why a script's word does not count.
pub(super) enum Refused {
    /// It has been logged.
    Logged,
    /// The script has no such function.
    Missing,
    /// Which code, and what the function did.
    Said(&'static str, String),
}

impl Refused {
    pub(super) fn kind(code: &'static str, wanted: &str, answer: &Answer) -> Self {
        Self::Said(code, format!("returned {}, not {wanted}", describe(answer)))
    }

    pub(super) fn log(&self, request: &Request<'_>, asked: &ScriptCall<'_>, missing: &str) {
        let function = asked.function;
        match self {
            Self::Logged => {}
            Self::Missing => {
                asked.log_refusal(
                    request,
                    missing,
                    &format!("the script has no function {function}()"),
                );
            }
            Self::Said(code, what) => {
                asked.log_refusal(request, code, &format!("{function}() {what}"));
            }
        }
    }
}

/// What a function returned, in words.
pub(super) fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Text(_) if answer.latin1().is_none() => "a str that is not latin-1".to_owned(),
        Answer::None => "None".to_owned(),
        answer => format!("a {}", answer.kind()),
    }
}

impl ScriptCall<'_> {
    pub(super) fn ask(
        &self,
        request: &mut Request<'_>,
        settings: &Settings<'_>,
        arguments: &[&[u8]],
        listed: bool,
    ) -> Result<Answer, Refused> {
        let exchange = ScriptExchange::new(request, settings, Environment::OfAccess);
        let answers =
            consult(self.script, self.code, exchange, &[self.function], arguments, listed);
        match answers?.pop() {
            Some(Some(answer)) => Ok(answer),
            Some(None) | None => Err(Refused::Missing),
        }
    }

    pub(super) fn log_refusal(&self, request: &Request<'_>, code: &str, what: &str) {
        let script = String::from_utf8_lossy(&self.script.path);
        request.log(Level::Error, format!("{code}: [script {script}] {what}").as_bytes());
    }
}

/// Asks `functions` of a script; `code` is that of the line that says that there is no interpreter.
pub(super) fn consult(
    script: &Script,
    code: &str,
    mut exchange: ScriptExchange<'_, '_>,
    functions: &[&str],
    arguments: &[&[u8]],
    listed: bool,
) -> Result<Vec<Option<Answer>>, Refused> {
    let settings = exchange.settings;
    let child = Child::get();
    let group = config::script_group(
        script.application_group.as_deref().unwrap_or_default(),
        &RequestNames::of(exchange.request, child.is_none_or(|child| child.options.case_sensitive)),
    )
    .into_owned();
    let question = Question {
        script: ScriptFile {
            path: &script.path,
            modified: version(&script.path),
            reloading: Reloading::in_place(settings.script_reloading.is_on()),
            case_sensitive: child.is_none_or(|child| child.options.case_sensitive),
            replacement: None,
        },
        application_group: &group,
        functions,
        arguments,
        listed,
        tls: exchange.environment == Environment::OfAccess,
    };
    // Before Python is waited for.
    let _running = child.and_then(|child| child.begin(exchange.request, false));
    let Some(host) = child.and_then(Child::host) else {
        let path = String::from_utf8_lossy(&script.path);
        let line = format!("{code}: [script {path}] Python has not been started in this process");
        exchange.request.log(Level::Error, line.as_bytes());
        return Err(Refused::Logged);
    };
    host.consult(&question, &mut exchange).map_err(|why| {
        if why == Unanswered::Interpreter {
            let (path, group) =
                (String::from_utf8_lossy(&script.path), String::from_utf8_lossy(&group));
            let line =
                format!("{code}: [script {path}] there is no interpreter for group '{group}'");
            exchange.request.log(Level::Error, line.as_bytes());
        }
        Refused::Logged
    })
}
