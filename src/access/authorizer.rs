//! `WSGIAuthGroupScript`: a script that knows the groups of users, for `Require wsgi-group` (mod_wsgi's
//! reference, section 5.4).
#![forbid(unsafe_code)]

use super::question::{Refused, ScriptCall};
use crate::config::{Settings, split_words};
use crate::httpd::{Authorizer, Request};
use crate::module_config::directory_config;
use host::Answer;
use wsgi::Level;

/// The provider `wsgi-group` of `Require`.
pub(crate) struct GroupScript;

impl Authorizer for GroupScript {
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
        let asked = ScriptCall { script, function: "groups_for_user", code: "WSGI0048" };
        let refused = match asked.ask(request, &settings, &[user], true) {
            Ok(Answer::List(groups)) => match is_member(&groups, required) {
                Ok(true) => return true,
                Ok(false) => {
                    let user = String::from_utf8_lossy(user);
                    if groups.is_empty() {
                        Refused::Said(
                            "WSGI0059",
                            format!("does not put user '{user}' into any group"),
                        )
                    } else {
                        let what = "into any of the required groups";
                        Refused::Said("WSGI0060", format!("does not put user '{user}' {what}"))
                    }
                }
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
            // One value that is no name makes the list invalid.
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
        let parse = <GroupScript as Authorizer>::parse;
        assert_eq!(parse(b" a \"b c\" "), Ok(vec![b"a".to_vec(), b"b c".to_vec()]));
        assert!(parse(b"  ").is_err());
    }
}
