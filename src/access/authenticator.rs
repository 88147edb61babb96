//! `WSGIAuthUserScript`: a script that knows the passwords of users, for mod_auth_basic and
//! mod_auth_digest (mod_wsgi's reference, section 5.3).
#![forbid(unsafe_code)]

use super::question::{Refused, ScriptCall};
use crate::config::Settings;
use crate::httpd::{Authenticator, Password, RealmHash, Request};
use crate::module_config::directory_config;
use host::Answer;
use wsgi::Level;

/// The provider `wsgi` of `AuthBasicProvider` and `AuthDigestProvider`.
pub(crate) struct UserScript;

impl Authenticator for UserScript {
    fn check_password(request: &mut Request<'_>, user: &[u8], password: &[u8]) -> Password {
        let Some(config) = directory_config(request) else {
            return no_user_script(request, "WSGI0041");
        };
        let settings = Settings::resolve(config);
        let Some(script) = settings.auth_user_script else {
            return no_user_script(request, "WSGI0041");
        };
        let asked = ScriptCall { script, function: "check_password", code: "WSGI0042" };
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
        let asked = ScriptCall { script, function: "get_realm_hash", code: "WSGI0045" };
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
