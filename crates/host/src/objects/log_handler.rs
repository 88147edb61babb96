//! `mod_wsgi.LogHandler`: records of Python's `logging` into Apache's log, each at its own level
//! (reference section 6.3).

use crate::cpython::{Attached, Class, ExceptionKind, Instance, Object, Result, Slots};
use crate::gateway::current;
use crate::log::SharedLog;
use crate::objects::task_log::with_task_log;
use std::ffi::CStr;
use wsgi::{Level, Source};

/// In Python, because it is a subclass of a Python class. Run at its first use,
/// because importing `logging` costs every interpreter some milliseconds.
const SOURCE: &str = include_str!("log_handler.py");

/// A new class. `json_records`: records without a formatter of their own are lines of JSON.
pub(crate) fn class<'py>(
    py: Attached<'py>,
    log: &SharedLog,
    json_records: bool,
) -> Result<'py, Object<'py>> {
    let names = py.dict()?;
    let put = |name, value: &Object<'py>| names.set_item(&py.interned(name)?, value);
    put("__name__", &py.str("mod_wsgi")?)?;
    let writer = |what| Writer { what, log: SharedLog::clone(log) };
    let class = py.class::<Writer>()?;
    put("writes", &class.instantiate(writer(What::Ask))?)?;
    put("write", &class.instantiate(writer(What::Write))?)?;
    put("request_id", &class.instantiate(writer(What::RequestId))?)?;
    put("json_records", &py.bool(json_records))?;
    let builtins = py.import(c"builtins")?;
    put("__builtins__", &builtins)?;
    builtins.call_method(c"exec", [&py.str(SOURCE)?, &names])?;
    names
        .item(&py.interned("LogHandler")?)?
        .ok_or_else(|| py.raise(ExceptionKind::System, "LogHandler is missing"))
}

/// `writes(level)`, `write(level, text, pathname, lineno)` and `request_id()`.
struct Writer {
    what: What,
    log: SharedLog,
}

enum What {
    Ask,
    Write,
    RequestId,
}

impl Class for Writer {
    const NAME: &'static CStr = c"mod_wsgi.LogWriter";
    const SLOTS: Slots<Self> = Slots { call: Some(call), ..Slots::NONE };
}

fn call<'py>(
    this: &Instance<'_, 'py, Writer>,
    arguments: &Object<'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    if matches!(this.what, What::RequestId) {
        return current::request_id(py);
    }
    let level = level(arguments.sequence_item(0)?.as_index()?);
    if matches!(this.what, What::Ask) {
        let asked =
            current::lease().and_then(|lease| lease.with(py, |response| response.logs(level)));
        let asked = asked.or_else(|| with_task_log(py, |log| log.logs(level)));
        return Ok(py.bool(asked.unwrap_or_else(|| this.log.logs(level))));
    }
    let text = arguments.sequence_item(1)?.utf8_replacing()?;
    // A record that does not come from a logger may have no file and line.
    let place = [arguments.sequence_item(2)?, arguments.sequence_item(3)?];
    let [path, number] = place.map(|part| Some(part).filter(|part| !part.is_none()));
    let path = path.map_or_else(|| Ok(Vec::new()), |path| path.utf8_replacing())?;
    let number = number.map_or(Ok(0), |number| number.as_index())?;
    let source = Source { path: &path, line: u32::try_from(number).unwrap_or(0) };
    for line in text.split(|&byte| byte == b'\n') {
        let of_request = current::lease().and_then(|lease| {
            lease.with_detached(py, |response| response.log_from(level, line, &source))
        });
        let is_written =
            of_request.is_some() || with_task_log(py, |log| log.line(level, line)).is_some();
        if !is_written {
            let log = &this.log;
            py.detached(|| log.log_from(level, line, &source));
        }
    }
    Ok(py.none())
}

/// Apache's level of one of Python's.
const fn level(number: i64) -> Level {
    match number {
        50.. => Level::Critical,
        40.. => Level::Error,
        30.. => Level::Warning,
        20.. => Level::Info,
        _ => Level::Debug,
    }
}
