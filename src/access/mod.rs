//! Scripts that say who may come in, who somebody is, and where a request is to run (mod_wsgi's
//! reference, section 5). They run in Apache's own processes, whatever serves the application. How
//! Python is asked is `host`'s affair; here stands what an answer means, and that no answer never means
//! yes.
#![forbid(unsafe_code)]

mod dispatch;
mod exchange;

pub(crate) use dispatch::dispatch;

use crate::config::{self, Script, Settings, split_words};
use crate::httpd::{
    AccessChecker, Authenticator, Authorizer, Outcome, Password, RealmHash, Request,
};
use crate::modified::modified;
use crate::module::directory_config;
use crate::names::RequestNames;
use crate::start::Child;
use exchange::{Environment, ScriptExchange};
use host::{Answer, Question, ScriptFile, Unanswered};
use wsgi::Level;

/// This module's hooks and providers for access control.
pub(crate) struct Access;

impl AccessChecker for Access {
    fn check(request: &mut Request<'_>) -> Outcome {
        let Some(config) = directory_config(request) else { return Outcome::Declined };
        let settings = Settings::resolve(config);
        let Some(script) = settings.access_script else { return Outcome::Declined };
        let host = request.remote_name();
        let asked = Asked { script, function: "allow_access", code: "WSGI0054" };
        let refused = match asked.ask(request, &settings, &[host], false) {
            Ok(Answer::None) => return Outcome::Declined,
            Ok(Answer::Bool(true)) => return Outcome::Done,
            Ok(Answer::Bool(false)) => {
                if !request.may_log_in_instead() {
                    let host = String::from_utf8_lossy(host);
                    let what = format!("Client '{host}' denied by the access script");
                    asked.complain(request, "WSGI0057", &what);
                }
                return Outcome::Status(403);
            }
            Ok(answer) => Refused::kind("WSGI0055", "True, False or None", &answer),
            Err(refused) => refused,
        };
        refused.log(request, &asked, "WSGI0056");
        Outcome::Status(403)
    }
}

impl Authenticator for Access {
    fn check_password(request: &mut Request<'_>, user: &[u8], password: &[u8]) -> Password {
        let Some(config) = directory_config(request) else {
            return no_user_script(request, "WSGI0041");
        };
        let settings = Settings::resolve(config);
        let Some(script) = settings.auth_user_script else {
            return no_user_script(request, "WSGI0041");
        };
        let asked = Asked { script, function: "check_password", code: "WSGI0042" };
        let refused = match asked.ask(request, &settings, &[user, password], false) {
            Ok(Answer::None) => return Password::UnknownUser,
            Ok(Answer::Bool(true)) => return Password::Right,
            Ok(Answer::Bool(false)) => return Password::Wrong,
            Ok(Answer::Text(name)) if name.is_empty() => {
                Refused::Said("WSGI0176", "returned an empty user name".to_owned())
            }
            Ok(Answer::Text(name)) if name.contains('\0') => {
                Refused::Said("WSGI0176", "returned a user name with a NUL".to_owned())
            }
            Ok(Answer::Text(name)) => {
                request.set_user(name.as_bytes());
                return Password::Right;
            }
            Ok(answer) => Refused::kind("WSGI0177", "True, False, None or a str", &answer),
            Err(refused) => refused,
        };
        refused.log(request, &asked, "WSGI0043");
        Password::Failed
    }

    fn realm_hash(request: &mut Request<'_>, user: &[u8], realm: &[u8]) -> RealmHash {
        let settings = directory_config(request).map(Settings::resolve);
        let script = settings.as_ref().and_then(|settings| settings.auth_user_script);
        let (Some(settings), Some(script)) = (settings, script) else {
            no_user_script(request, "WSGI0044");
            return RealmHash::Failed;
        };
        let asked = Asked { script, function: "get_realm_hash", code: "WSGI0045" };
        let refused = match asked.ask(request, &settings, &[user, realm], false) {
            Ok(Answer::None) => return RealmHash::UnknownUser,
            Ok(answer) => match answer.latin1() {
                Some(hash) if hash.is_empty() => {
                    Refused::Said("WSGI0178", "returned an empty hash".to_owned())
                }
                Some(hash) if hash.contains(&0) => {
                    Refused::Said("WSGI0179", "returned a hash with a NUL".to_owned())
                }
                Some(hash) => return RealmHash::Known(hash),
                None => {
                    Refused::kind("WSGI0179", "None, a str of hexadecimal digits or bytes", &answer)
                }
            },
            Err(refused) => refused,
        };
        refused.log(request, &asked, "WSGI0046");
        RealmHash::Failed
    }
}

fn no_user_script(request: &Request<'_>, code: &str) -> Password {
    let line =
        format!("{code}: a provider named wsgi is configured here, but no WSGIAuthUserScript");
    request.log(Level::Error, line.as_bytes());
    Password::Failed
}

impl Authorizer for Access {
    /// The names of groups.
    type Required = Vec<Vec<u8>>;

    fn parse(line: &[u8]) -> Result<Self::Required, String> {
        let groups = split_words(line);
        if groups.is_empty() {
            return Err("Require wsgi-group needs the name of at least one group".to_owned());
        }
        Ok(groups)
    }

    fn check(request: &mut Request<'_>, required: &Self::Required) -> bool {
        let settings = directory_config(request).map(Settings::resolve);
        let script = settings.as_ref().and_then(|settings| settings.auth_group_script);
        let (Some(settings), Some(script)) = (settings, script) else {
            let line = "WSGI0058: Require wsgi-group stands here, but no WSGIAuthGroupScript";
            request.log(Level::Error, line.as_bytes());
            return false;
        };
        let user = request.user().unwrap_or_default();
        let asked = Asked { script, function: "groups_for_user", code: "WSGI0048" };
        let refused = match asked.ask(request, &settings, &[user], true) {
            Ok(Answer::List(groups)) => match is_member(&groups, required) {
                Ok(true) => return true,
                Ok(false) => Refused::Said(
                    if groups.is_empty() { "WSGI0059" } else { "WSGI0060" },
                    format!(
                        "does not put user '{}' into any of the required groups",
                        String::from_utf8_lossy(user)
                    ),
                ),
                Err(refused) => refused,
            },
            Ok(answer) => Refused::kind("WSGI0051", "a list of names", &answer),
            Err(refused) => refused,
        };
        refused.log(request, &asked, "WSGI0052");
        false
    }
}

/// Whether one of the groups is required. Their names have no case.
fn is_member(groups: &[Answer], required: &[Vec<u8>]) -> Result<bool, Refused> {
    let mut member = false;
    for group in groups {
        let Some(name) = group.latin1() else {
            let code = if matches!(group, Answer::Text(_)) { "WSGI0049" } else { "WSGI0050" };
            return Err(Refused::kind(code, "names of groups as str or bytes", group));
        };
        member |= required.iter().any(|required| required.eq_ignore_ascii_case(&name));
    }
    Ok(member)
}

/// A function of a script.
struct Asked<'a> {
    script: &'a Script,
    function: &'static str,
    /// The code of the line that says that there is no interpreter.
    code: &'static str,
}

/// Why a script's word does not count.
enum Refused {
    /// It has been logged.
    Logged,
    /// The script has no such function.
    Missing,
    /// Which code, and what the function did.
    Said(&'static str, String),
}

impl Refused {
    fn kind(code: &'static str, wanted: &str, answer: &Answer) -> Self {
        Self::Said(code, format!("returned {}, not {wanted}", describe(answer)))
    }

    fn log(&self, request: &Request<'_>, asked: &Asked<'_>, missing: &str) {
        let function = asked.function;
        match self {
            Self::Logged => {}
            Self::Missing => {
                asked.complain(
                    request,
                    missing,
                    &format!("the script has no function {function}()"),
                );
            }
            Self::Said(code, what) => {
                asked.complain(request, code, &format!("{function}() {what}"));
            }
        }
    }
}

/// What a function returned, in words.
fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Text(_) if answer.latin1().is_none() => "a str that is not latin-1".to_owned(),
        Answer::None => "None".to_owned(),
        answer => format!("a {}", answer.kind()),
    }
}

impl Asked<'_> {
    fn ask(
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

    fn complain(&self, request: &Request<'_>, code: &str, what: &str) {
        let script = String::from_utf8_lossy(&self.script.path);
        request.log(Level::Error, format!("{code}: [script {script}] {what}").as_bytes());
    }
}

/// Asks `functions` of a script; `code` is that of the line that says that there is no interpreter.
fn consult(
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
            modified: modified(&script.path),
            reloading: settings.script_reloading,
            case_sensitive: child.is_none_or(|child| child.options.case_sensitive),
        },
        application_group: &group,
        functions,
        arguments,
        listed,
        tls: exchange.environment == Environment::OfAccess,
    };
    let Some(host) = child.and_then(|child| child.host.as_ref()) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Answer {
        Answer::Text(text.to_owned())
    }

    #[test]
    fn membership_is_told_by_names_without_case() {
        let required = [b"Staff".to_vec(), b"caf\xe9".to_vec()];
        let table = [
            (vec![], Some(false)),
            (vec![text("staff")], Some(true)),
            (vec![text("other"), Answer::Bytes(b"STAFF".to_vec())], Some(true)),
            (vec![text("caf\u{e9}")], Some(true)),
            (vec![text("other")], Some(false)),
            // One bad name spoils all: whoever wrote it meant something else.
            (vec![text("staff"), Answer::None], None),
            (vec![text("staff"), text("\u{20ac}")], None),
            (vec![Answer::Other("int".to_owned())], None),
        ];
        for (groups, expected) in table {
            assert_eq!(is_member(&groups, &required).ok(), expected, "{groups:?}");
        }
    }

    #[test]
    fn a_require_line_names_groups() {
        let parse = <Access as Authorizer>::parse;
        assert_eq!(parse(b" a \"b c\" "), Ok(vec![b"a".to_vec(), b"b c".to_vec()]));
        assert!(parse(b"  ").is_err());
    }
}
