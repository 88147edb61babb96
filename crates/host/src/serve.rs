//! The gateway: one request through one application (PEP 3333).
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Capsule, ExceptionKind, Instance, Object, Raised, Result};
use crate::environ::Builder;
use crate::failure::{self, Place};
use crate::interpreter::{Interpreter, thread_id};
use crate::lease::Lease;
use crate::objects::{Adapter, CurrentRequest, FileWrapper, Input, Log, raise_chunk_error};
use crate::request::{Buffers, ChunkError, Request, ServerLog, Stage};
use crate::script::{Loading, ScriptFile};
use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wsgi::{Exchange, Level, ReadError, SendError};

/// Which application a request is for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The script that holds it.
    pub script: ScriptFile<'a>,
    /// The name of the callable in the script (`WSGICallableObject`).
    pub callable: &'a [u8],
    /// The application group by name (`WSGIApplicationGroup`); empty is `%{GLOBAL}`.
    pub application_group: &'a [u8],
    /// Run it in the main interpreter whatever the group's name is (design decision D5).
    pub main_interpreter: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The answer went out, or as much of it as the client wanted.
    Done,
    /// Nothing went out: the server answers with this HTTP status.
    Failed(u16),
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// What is left to do once Python has been left.
enum Rest {
    /// Nothing.
    Nothing,
    /// Send the collected answer.
    Finish,
    /// Nothing was sent and nothing will be.
    Fail(u16),
}

/// Bodies of plain lists up to this size are copied and sent after Python has been left.
const COLLECTED: usize = 64 * 1024;

/// Serves one request in `interpreter`. The calling thread must not be attached to any.
pub(crate) fn serve(
    interpreter: &Interpreter,
    process_group: &str,
    target: &Target<'_>,
    exchange: &mut dyn Exchange,
) -> Served {
    let buffers = BUFFERS.take().cleared();
    let mut request = Request::new(exchange, target.script.path, buffers);
    let rest = match interpreter.attach() {
        Some(attachment) => {
            let py = attachment.py();
            let gateway = Gateway { py, interpreter, process_group, target };
            // Before the request is lent: what is made here may set off a garbage collection, and with it
            // Python code that writes to a log.
            let native = Capsule::of(py, request.exchange.native_request());
            let variables = native.and_then(|native| {
                gateway.variables(request.exchange, native.as_ref()).map(|it| (it, native))
            });
            // What is native is revoked once the request has ended.
            let (variables, _native) = match variables {
                Ok((variables, native)) => (Ok(variables), native),
                Err(raised) => (Err(raised), None),
            };
            Lease::lend(&mut request, py, |lease| {
                let _current = CurrentRequest::set(lease);
                let rest = gateway.run(variables, lease);
                // What was printed without a newline still is a line.
                lease.with_unfinished_log(py);
                rest
            })
        }
        None => {
            request.log(Level::Error, "WSGI0191: cannot create a thread state for this thread");
            Rest::Fail(500)
        }
    };
    let served = match rest {
        Rest::Fail(status) => Served::Failed(status),
        Rest::Nothing => Served::Done,
        Rest::Finish => match request.finish() {
            Ok(()) | Err(ChunkError::Send(_)) => Served::Done,
            // The head was checked while Python could still raise.
            Err(ChunkError::NotStarted | ChunkError::Head(_)) => Served::Failed(500),
        },
    };
    BUFFERS.set(request.into_buffers());
    served
}

/// Loads a script outside of any request.
pub(crate) fn preload(
    interpreter: &Interpreter,
    process_group: &str,
    target: &Target<'_>,
    log: &dyn ServerLog,
) -> bool {
    let Some(attachment) = interpreter.attach() else { return false };
    let place = Place { application_group: &interpreter.name, process_group };
    let log = |level, line: &str| log.log(level, line.as_bytes());
    let Ok(module) = load(attachment.py(), interpreter, &place, &target.script, true, &log) else {
        return false;
    };
    if target.callable.is_empty() {
        return true;
    }
    match find_application(&module, target) {
        Ok(Some(_)) => true,
        Ok(None) => false,
        Err(line) => {
            log(Level::Error, &line);
            false
        }
    }
}

/// The callable, or the line that says why there is none; `None` when memory is exhausted.
fn find_application<'py>(
    module: &Object<'py>,
    target: &Target<'_>,
) -> std::result::Result<Option<Object<'py>>, String> {
    let name = module.py().latin1(target.callable);
    match name.and_then(|name| module.item(&name)) {
        Ok(Some(application)) if application.is_callable() => Ok(Some(application)),
        Err(raised) => {
            raised.clear();
            Ok(None)
        }
        Ok(found) => {
            let script = String::from_utf8_lossy(target.script.path);
            let name = String::from_utf8_lossy(target.callable);
            let what = match found {
                None => "does not contain WSGI application".to_owned(),
                Some(object) => {
                    let kind = object.type_name();
                    format!("has a {kind}, which cannot be called, for WSGI application")
                }
            };
            Err(format!(
                "WSGI0089: [script {script}] Target WSGI script '{script}' {what} '{name}'."
            ))
        }
    }
}

/// Runs a script to its end; leaving by `SystemExit` is no failure.
pub(crate) fn run_service(
    interpreter: &Interpreter,
    process_group: &str,
    target: &Target<'_>,
    log: &dyn ServerLog,
) {
    let Some(attachment) = interpreter.attach() else { return };
    let script = String::from_utf8_lossy(target.script.path);
    let place = Place { application_group: &interpreter.name, process_group };
    let line = format!("[script {script}] Running service script '{script}' in {place}.");
    log.log(Level::Info, line.as_bytes());
    let run =
        interpreter.room.scripts.module(attachment.py(), &target.script, false, |_| {}, |_| {});
    let Err(why) = run else { return };
    let (headline, exception) = why.headline(&script);
    if exception.is_some_and(|exception| exception.is(ExceptionKind::SystemExit)) {
        return;
    }
    log.log(Level::Error, headline.as_bytes());
    if let Some(exception) = exception {
        failure::report(exception, &script, &place, &mut |level, line| {
            log.log(level, line.as_bytes());
        });
    }
}

/// The script's module dict, or the status that tells why there is none. `asks` is whether the script
/// itself has a say in its reloading.
pub(crate) fn load<'py>(
    py: Attached<'py>,
    interpreter: &Interpreter,
    place: &Place<'_>,
    file: &ScriptFile<'_>,
    asks: bool,
    log: &dyn Fn(Level, &str),
) -> std::result::Result<Object<'py>, u16> {
    let script = String::from_utf8_lossy(file.path);
    let say = |loading| {
        let verb = if loading == Loading::First { "Loading" } else { "Reloading" };
        let line = format!("[script {script}] {verb} WSGI script '{script}' into {place}.");
        log(Level::Info, &line);
    };
    let report = |exception: &_| {
        failure::report(exception, &script, place, &mut |level, line| log(level, line));
    };
    interpreter.room.scripts.module(py, file, asks, say, report).map_err(|why| {
        let (headline, exception) = why.headline(&script);
        log(Level::Error, &headline);
        if let Some(exception) = exception {
            report(exception);
        }
        why.status()
    })
}

struct Gateway<'a, 'py> {
    py: Attached<'py>,
    interpreter: &'a Interpreter,
    process_group: &'a str,
    target: &'a Target<'a>,
}

impl<'py> Gateway<'_, 'py> {
    fn run(&self, variables: Result<'py, Builder<'_, 'py>>, lease: &Arc<Lease>) -> Rest {
        let variables = match variables {
            Ok(variables) => variables,
            Err(raised) => return self.failed(raised, lease),
        };
        let module = match self.module(lease) {
            Ok(module) => module,
            Err(status) => return Rest::Fail(status),
        };
        let application = match self.application(&module, lease) {
            Ok(application) => application,
            Err(status) => return Rest::Fail(status),
        };
        match self.answer(&application, variables, lease) {
            Ok(rest) => rest,
            Err(raised) => self.failed(raised, lease),
        }
    }

    /// The script's module dict, or the status that tells why there is none.
    fn module(&self, lease: &Lease) -> std::result::Result<Object<'py>, u16> {
        let log = |level, line: &str| self.log(lease, level, line);
        load(self.py, self.interpreter, &self.place(), &self.target.script, true, &log)
    }

    fn application(
        &self,
        module: &Object<'py>,
        lease: &Lease,
    ) -> std::result::Result<Object<'py>, u16> {
        match find_application(module, self.target) {
            Ok(Some(application)) => Ok(application),
            Ok(None) => Err(500),
            Err(line) => {
                self.log(lease, Level::Error, &line);
                Err(500)
            }
        }
    }

    fn answer(
        &self,
        application: &Object<'py>,
        variables: Builder<'_, 'py>,
        lease: &Arc<Lease>,
    ) -> Result<'py, Rest> {
        let py = self.py;
        let room = &self.interpreter.room;
        let environ = self.environ(variables, lease)?;
        let adapter =
            py.instantiate(&room.adapter.get(py), Adapter { lease: Arc::clone(lease) })?;
        let start_response = adapter.attribute(c"start_response")?;
        let result = application.call([&environ, &start_response])?;
        if result.is_plain_sequence()
            && let Some(rest) = self.collect(&result, lease)?
        {
            return Ok(rest);
        }
        let sent = self.iterate(&result, lease);
        // Whatever happened, the iterable is closed (PEP 3333, "Specification Details"); what
        // happened first is what is reported.
        let sent = match sent {
            Ok(()) => Ok(()),
            Err(raised) => Err(raised.take()),
        };
        let closed = result.attribute_if_any(c"close").and_then(|close| match close {
            Some(close) => close.call0().map(|_| ()),
            None => Ok(()),
        });
        if let Err(raised) = closed {
            self.report(raised, lease);
        }
        sent.map_err(crate::cpython::Exception::restore)?;
        Ok(Rest::Nothing)
    }

    /// The transport's variables.
    fn variables(
        &self,
        exchange: &mut dyn Exchange,
        native: Option<&Capsule<'py>>,
    ) -> Result<'py, Builder<'_, 'py>> {
        let py = self.py;
        let room = &self.interpreter.room;
        let mut builder = Builder::new(&room.names, &room.template.get(py))?;
        let words = &room.words;
        builder
            .put(&words.application_group.get(py), &py.latin1(self.target.application_group)?)?;
        builder.put(&words.callable_object.get(py), &py.latin1(self.target.callable)?)?;
        exchange.environ(&mut builder);
        if let Some(native) = native {
            builder.put(&py.interned(Capsule::NAME)?, native.object())?;
        }
        Ok(builder)
    }

    /// The environ: the variables, and the objects of this request.
    fn environ(
        &self,
        mut builder: Builder<'_, 'py>,
        lease: &Arc<Lease>,
    ) -> Result<'py, Object<'py>> {
        let py = self.py;
        let room = &self.interpreter.room;
        let words = &room.words;
        let input = py.instantiate(&room.input.get(py), Input::new(Arc::clone(lease)))?;
        builder.put(&words.wsgi_input.get(py), &input)?;
        let errors = py.instantiate(&room.log.get(py), Log::of_request(Arc::clone(lease)))?;
        builder.put(&words.wsgi_errors.get(py), &errors)?;
        builder.put(&words.thread_id.get(py), &py.int(thread_id())?)?;
        builder.put(&words.application_start.get(py), &py.float(now())?)?;
        builder.finish()
    }

    /// Takes a plain list of byte strings whole: nothing of the application runs any more, so the
    /// client is best served by one write, after other threads got the interpreter. `None` when the
    /// list has to be sent piece by piece.
    fn collect(&self, list: &Object<'py>, lease: &Lease) -> Result<'py, Option<Rest>> {
        let py = self.py;
        let mut total = 0;
        for index in 0..list.sequence_length() {
            let item = list.sequence_item(index)?;
            total += item.as_bytes().map_or(usize::MAX / 2, <[u8]>::len);
            if total > COLLECTED {
                return Ok(None);
            }
        }
        if lease.with(py, |request| request.stage() >= Stage::Sending) == Some(true) {
            return Ok(None);
        }
        for index in 0..list.sequence_length() {
            let item = list.sequence_item(index)?;
            let bytes = item.as_bytes().unwrap_or_default();
            settle(py, lease.with(py, |request| request.collect(bytes)))?;
        }
        settle(py, lease.with(py, |request| request.check_head()))?;
        Ok(Some(Rest::Finish))
    }

    /// Sends what the iterable yields, each piece as it comes.
    fn iterate(&self, iterable: &Object<'py>, lease: &Lease) -> Result<'py, ()> {
        let py = self.py;
        if self.send_file(iterable, lease)? {
            return Ok(());
        }
        let items = iterable.iter()?;
        while let Some(item) = items.next()? {
            let Some(bytes) = item.as_bytes() else {
                let text = format!(
                    "sequence of byte string values expected, value of type {} found",
                    item.type_name()
                );
                return Err(py.raise(ExceptionKind::Type, &text));
            };
            match lease.with_detached(py, |request| request.send_chunk(bytes)) {
                Some(Err(ChunkError::Send(why))) => {
                    self.client_gone(why, lease);
                    return Ok(());
                }
                sent => settle(py, sent)?,
            }
        }
        match lease.with_detached(py, |request| request.finish()) {
            Some(Err(ChunkError::Send(why))) => {
                self.client_gone(why, lease);
                Ok(())
            }
            finished => settle(py, finished),
        }
    }

    /// Sends a `wsgi.file_wrapper` over a regular file as a file, if that is what this is.
    fn send_file(&self, iterable: &Object<'py>, lease: &Lease) -> Result<'py, bool> {
        let py = self.py;
        let class = self.interpreter.room.file_wrapper.get(py);
        let Some(wrapper) = Instance::<FileWrapper>::of(iterable, &class) else { return Ok(false) };
        if lease.with(py, |request| request.stage()) != Some(Stage::Started) {
            return Ok(false);
        }
        let Some((descriptor, position)) = wrapper.descriptor() else { return Ok(false) };
        let Some(file) = crate::posix::RegularFile::of(descriptor) else { return Ok(false) };
        let available = file.size().saturating_sub(position);
        let file: BorrowedFd<'_> = file.descriptor();
        match lease.with_detached(py, |request| request.send_file(file, position, available)) {
            Some(Err(ChunkError::Send(why))) => self.client_gone(why, lease),
            sent => settle(py, sent)?,
        }
        Ok(true)
    }

    /// Turns what the application raised into an answer.
    fn failed(&self, raised: Raised<'py>, lease: &Lease) -> Rest {
        let py = self.py;
        let state = lease.with(py, |request| {
            (request.stage(), request.read_failure().cloned(), request.send_failure())
        });
        let (stage, read_failure, send_failure) = state.unwrap_or((Stage::Ended, None, None));
        let of_the_client = raised.is(ExceptionKind::Os)
            && (send_failure == Some(SendError::Disconnected)
                || matches!(&read_failure, Some(why) if !matches!(why, ReadError::Other(_))));
        if of_the_client {
            let exception = raised.take();
            let why = exception.value.text();
            self.log(lease, Level::Debug, &format!("the application gave up: {why}"));
        } else {
            self.report(raised, lease);
        }
        if stage >= Stage::Sending {
            lease.with_detached(py, |request| request.cut());
            return Rest::Nothing;
        }
        match read_failure {
            Some(why) if of_the_client => Rest::Fail(why.status()),
            _ => Rest::Fail(500),
        }
    }

    fn client_gone(&self, why: SendError, lease: &Lease) {
        self.log(lease, Level::Trace, &format!("the rest of the response is not sent: {why}"));
    }

    fn report(&self, raised: Raised<'py>, lease: &Lease) {
        let exception = raised.take();
        failure::report(&exception, &self.script_name(), &self.place(), &mut |level, line| {
            self.log(lease, level, line);
        });
    }

    fn log(&self, lease: &Lease, level: Level, line: &str) {
        lease.with_detached(self.py, |request| request.log(level, line));
    }

    fn script_name(&self) -> String {
        String::from_utf8_lossy(self.target.script.path).into_owned()
    }

    fn place(&self) -> Place<'_> {
        Place { application_group: &self.interpreter.name, process_group: self.process_group }
    }
}

/// Raises what went wrong with a piece of the answer.
fn settle<'py>(
    py: Attached<'py>,
    outcome: Option<std::result::Result<(), ChunkError>>,
) -> Result<'py, ()> {
    match outcome {
        Some(Err(why)) => Err(raise_chunk_error(py, &why)),
        Some(Ok(())) | None => Ok(()),
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
