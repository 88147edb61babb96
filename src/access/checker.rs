//! `WSGIAccessScript`: a script that decides which clients may come in, by their host (mod_wsgi's reference,
//! section 5.2).
#![forbid(unsafe_code)]

use super::question::{Refused, ScriptCall};
use crate::config::Settings;
use crate::httpd::{AccessChecker, Outcome, Request};
use crate::module_config::directory_config;
use host::Answer;

/// The hook on access control by host.
pub(crate) struct AccessScript;

impl AccessChecker for AccessScript {
    fn check(request: &mut Request<'_>) -> Outcome {
        let Some(config) = directory_config(request) else { return Outcome::Declined };
        let settings = Settings::resolve(config);
        let Some(script) = settings.access_script else { return Outcome::Declined };
        let host = request.remote_name();
        let asked = ScriptCall { script, function: "allow_access", code: "WSGI0054" };
        let refused = match asked.ask(request, &settings, &[host], false) {
            Ok(Answer::None) => return Outcome::Declined,
            Ok(Answer::Bool(true)) => return Outcome::Done,
            Ok(Answer::Bool(false)) => {
                if !request.satisfy_any() {
                    let host = String::from_utf8_lossy(host);
                    let what = format!("Client '{host}' denied by the access script");
                    asked.log_refusal(request, "WSGI0057", &what);
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
