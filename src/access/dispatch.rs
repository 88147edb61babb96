//! `WSGIDispatchScript`: a script that chooses where a request is to run.
#![forbid(unsafe_code)]

use super::question::{ScriptCall, consult, describe};
use super::script_exchange::{Environment, ScriptExchange};
use crate::config::{Dispatched, NotDispatched, Script, Settings};
use crate::httpd::Request;
use host::Answer;

const FUNCTIONS: [&str; 3] = ["process_group", "application_group", "callable_object"];

/// Asks `script` about the request; what goes wrong is logged. A request whose place is not known must
/// not run anywhere else.
pub(crate) fn dispatch(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    script: &Script,
) -> Result<Dispatched, NotDispatched> {
    let exchange = ScriptExchange::new(request, settings, Environment::OfApplication);
    let answers =
        consult(script, "WSGI0086", exchange, &FUNCTIONS, &[], false).map_err(|_| NotDispatched)?;
    let mut chosen = [None, None, None];
    for ((function, answer), place) in FUNCTIONS.into_iter().zip(answers).zip(&mut chosen) {
        *place = read(answer).map_err(|why| {
            let asked = ScriptCall { script, function, code: "WSGI0086" };
            asked.log_refusal(request, "WSGI0174", &format!("{function}() {why}"));
            NotDispatched
        })?;
    }
    let [process_group, application_group, callable_object] = chosen;
    Ok(Dispatched { process_group, application_group, callable_object })
}

fn read(answer: Option<Answer>) -> Result<Option<Vec<u8>>, String> {
    match answer {
        None | Some(Answer::None) => Ok(None),
        Some(answer) => match answer.latin1() {
            Some(name) => Ok(Some(name)),
            None => {
                Err(format!("returned {}, not a name as str or bytes, nor None", describe(&answer)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_or_bytes_and_none_keeps_what_is_configured() {
        assert_eq!(read(None), Ok(None));
        assert_eq!(read(Some(Answer::None)), Ok(None));
        assert_eq!(read(Some(Answer::Text("site".to_owned()))), Ok(Some(b"site".to_vec())));
        assert_eq!(read(Some(Answer::Bytes(Vec::new()))), Ok(Some(Vec::new())));
        for bad in [
            Answer::Bool(true),
            Answer::Other("int".to_owned()),
            Answer::Text("\u{20ac}".to_owned()),
        ] {
            assert!(read(Some(bad)).is_err());
        }
    }
}
