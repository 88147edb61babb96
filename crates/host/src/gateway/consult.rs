//! Scripts that the server itself calls about a request: for access control, authentication, and the choice of the
//! group that a request runs in. They are loaded like applications; their results leave this crate as plain values.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Capsule, Object, Result};
use crate::failure::{self, ErrorLocation};
use crate::gateway::current::CurrentRequest;
use crate::gateway::environ::Builder;
use crate::gateway::lease::Lease;
use crate::gateway::response::{Buffers, Response};
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::load::{Purpose, load};
use crate::interpreters::script::ScriptFile;
use crate::objects::{Auth, Log};
use std::sync::Arc;
use wsgi::{Exchange, Level};

/// A call of functions of a script.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The script.
    pub script: ScriptFile<'a>,
    /// The application group in whose interpreter they are called; empty is the main one.
    pub application_group: &'a [u8],
    /// The functions to call, one after the other, each with the environ and `arguments`.
    pub functions: &'a [&'a str],
    /// Further arguments; each byte becomes one character.
    pub arguments: &'a [&'a [u8]],
    /// Whether the answer may be any iterable ([`Answer::List`]).
    pub listed: bool,
    /// Whether the environ gets `mod_ssl.is_https` and `mod_ssl.var_lookup`.
    pub tls: bool,
}

/// What a function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A `str`.
    Text(String),
    /// A `bytes`.
    Bytes(Vec<u8>),
    /// What an iterable yielded, where a list was asked for.
    List(Vec<Self>),
    /// Something else, by the name of its type.
    Other(String),
}

/// Why there is no answer. The last two have been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// There is no interpreter for the application group.
    Interpreter,
    /// The script could not be loaded.
    Script,
    /// A function raised.
    Raised,
}

impl Answer {
    /// The text as bytes, where each of its characters is one byte.
    pub fn latin1(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
            Self::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The name of its Python type, for a log line.
    pub fn kind(&self) -> &str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Text(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Other(kind) => kind,
        }
    }
}

/// Calls the functions. Each answer has the index of its function; `None` where the script has no such
/// function. After an answer that is [`Answer::Other`] no more functions are called.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn consult(
    interpreter: &Interpreter,
    process_group: &str,
    question: &Question<'_>,
    exchange: &mut dyn Exchange,
) -> std::result::Result<Vec<Option<Answer>>, Unanswered> {
    let mut response = Response::new(exchange, question.script.path, Buffers::default());
    let attachment = interpreter.attach().ok_or(Unanswered::Interpreter)?;
    let py = attachment.py();
    let location = ErrorLocation { application_group: &interpreter.name, process_group };
    let native = Capsule::of(py, response.exchange.native_request());
    let variables = native.and_then(|native| {
        let variables = variables(py, interpreter, question, native.as_ref(), response.exchange);
        variables.map(|variables| (variables, native))
    });
    Lease::lend(&mut response, py, |lease| {
        let _current = CurrentRequest::begin(py, lease, &interpreter.state.subscribers);
        let log = |level, line: &str| {
            lease.with_detached(py, |response| response.log(level, line));
        };
        let answers = variables.map(|(variables, native)| {
            // Dropped at the end of the lease, which revokes the capsule.
            let _native = native;
            let module = load(
                py,
                interpreter,
                &location,
                &question.script,
                Purpose::Consultation,
                None,
                &log,
            )
            .map_err(|_status| Unanswered::Script)?;
            let asked = ask(py, interpreter, question, variables, &module, lease);
            asked.map_err(|raised| {
                let script = String::from_utf8_lossy(question.script.path);
                let mut log = |level: Level, line: &str| log(level, line);
                failure::report(&raised.take(), &script, &location, None, None, &mut log);
                Unanswered::Raised
            })
        });
        lease.with_unfinished_log(py);
        answers.unwrap_or_else(|raised| {
            raised.clear();
            Err(Unanswered::Interpreter)
        })
    })
}

fn variables<'a, 'py>(
    py: Attached<'py>,
    interpreter: &'a Interpreter,
    question: &Question<'_>,
    native: Option<&Capsule<'py>>,
    exchange: &mut dyn Exchange,
) -> Result<'py, Builder<'a, 'py>> {
    let state = &interpreter.state;
    let mut builder = Builder::of(&state.environ_cache, py.dict()?);
    let template = state.template.get(py);
    for name in ["apache.version", "mod_wsgi.version", "mod_wsgi.process_group"] {
        let name = py.interned(name)?;
        if let Some(value) = template.item(&name)? {
            builder.put(&name, &value)?;
        }
    }
    exchange.environ(&mut builder);
    let group = py.latin1(question.application_group)?;
    builder.put(&state.keys.application_group.get(py), &group)?;
    if let Some(native) = native {
        builder.put(&py.interned(Capsule::NAME)?, native.object())?;
    }
    Ok(builder)
}

fn ask<'py>(
    py: Attached<'py>,
    interpreter: &Interpreter,
    question: &Question<'_>,
    mut variables: Builder<'_, 'py>,
    module: &Object<'py>,
    lease: &Arc<Lease>,
) -> Result<'py, Vec<Option<Answer>>> {
    let state = &interpreter.state;
    let errors =
        state.log.get(py).instantiate(Log::of_request(Arc::clone(lease), state.json.clone()))?;
    variables.put(&state.keys.wsgi_errors.get(py), &errors)?;
    if question.tls {
        let auth = state.auth.get(py).instantiate(Auth { lease: Arc::clone(lease) })?;
        for (name, method) in
            [("mod_ssl.is_https", c"is_https"), ("mod_ssl.var_lookup", c"var_lookup")]
        {
            variables.put(&py.interned(name)?, &auth.attribute(method)?)?;
        }
    }
    let arguments = py.list()?;
    arguments.append(&variables.finish()?)?;
    for argument in question.arguments {
        arguments.append(&py.latin1(argument)?)?;
    }
    let arguments = py.import(c"builtins")?.call_method(c"tuple", [&arguments])?;
    let mut answers = Vec::with_capacity(question.functions.len());
    for name in question.functions {
        let Some(function) = module.item(&py.str(name)?)? else {
            answers.push(None);
            continue;
        };
        let answer = answer(&function.call_keywords(&arguments, &py.dict()?)?, question.listed)?;
        let last = matches!(answer, Answer::Other(_));
        answers.push(Some(answer));
        if last {
            break;
        }
    }
    Ok(answers)
}

fn answer<'py>(value: &Object<'py>, listed: bool) -> Result<'py, Answer> {
    if value.is_none() {
        return Ok(Answer::None);
    }
    if let Some(value) = value.as_bool() {
        return Ok(Answer::Bool(value));
    }
    if value.is_str() {
        let text = value.to_utf8().map(Answer::Text);
        return Ok(text.unwrap_or_else(|| Answer::Other("str with lone surrogates".to_owned())));
    }
    if let Some(bytes) = value.as_bytes() {
        return Ok(Answer::Bytes(bytes.to_vec()));
    }
    if !listed || value.attribute_if_any(c"__iter__")?.is_none() {
        return Ok(Answer::Other(value.type_name()));
    }
    let mut list = Vec::new();
    let items = value.iter()?;
    while let Some(item) = items.next()? {
        list.push(answer(&item, false)?);
    }
    Ok(Answer::List(list))
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn text_is_bytes_where_each_character_is_one() {
        let text = |text: &str| Answer::Text(text.to_owned());
        assert_eq!(text("caf\u{e9}").latin1().as_deref(), Some(&b"caf\xe9"[..]));
        assert_eq!(text("\u{20ac}").latin1(), None);
        assert_eq!(Answer::Bytes(b"\xff".to_vec()).latin1().as_deref(), Some(&b"\xff"[..]));
        assert_eq!(Answer::None.latin1(), None);
    }
}
