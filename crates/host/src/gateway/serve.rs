//! The gateway: one request through one application (PEP 3333).
#![forbid(unsafe_code)]

use crate::cpython::{
    Attached, Capsule, Exception, ExceptionKind, Instance, Object, Raised, Result, Shelf, Waiting,
};
use crate::failure::{self, Place};
use crate::gateway::current::CurrentRequest;
use crate::gateway::environ::{Beginning, Builder};
use crate::gateway::lease::Lease;
use crate::gateway::response::{Buffers, ChunkError, Request, Stage};
use crate::gateway::target::{Served, Target};
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::load::{find_application, load};
use crate::objects::{Adapter, FileWrapper, Input, Log, raise_chunk_error};
use crate::observe::activity::{self, Activity};
use crate::observe::candidate::{Candidate, Report};
use crate::observe::metrics::seconds_now;
use crate::observe::metrics::{Finished, Measurement, Moments};
use crate::observe::observation::{Ending, Observation};
use crate::observe::thread_id::thread_id;
use crate::telemetry::Details;
use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;
use wsgi::{DISCARD_LIMIT, Exchange, Level, ReadError, SendError};

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
    interpreter: &Arc<Interpreter>,
    process_group: &str,
    target: &Target<'_>,
    exchange: &mut dyn Exchange,
    activity: &Activity,
    may_be_slow: bool,
) -> Served {
    let buffers = BUFFERS.take().cleared();
    let mut request = Request::new(exchange, target.script.path, buffers);
    let visit = activity.enter();
    let measurement = visit.measurement();
    let waiting = OnceCell::new();
    if measurement.is_some() {
        waiting.get_or_init(Waiting::measure);
    }
    request.tally.timed = measurement.is_some();
    request.before_end = may_be_slow.then_some(activity::farewell);
    let mut moments = None;
    let begun = may_be_slow.then(Instant::now);
    let mut before = None;
    let rest = match interpreter.attach() {
        Some(attachment) => {
            let py = attachment.py();
            let seen = Seen {
                measurement,
                waiting: &waiting,
                moments: Cell::new(None),
                observation: OnceCell::new(),
            };
            let gateway = Gateway { py, interpreter, process_group, target, seen };
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
                if activity::take_interrupt() {
                    // It came too late for the request before, which is no reason to end this one.
                    py.interrupt(Attached::thread_ident(), None);
                }
                let current = CurrentRequest::begin(py, lease, &interpreter.room.subscribers);
                if let Some(since) = begun
                    && let Some(seat) = interpreter.seat()
                {
                    before = Some(activity::set_candidate(Some(Candidate {
                        since,
                        line: request_line(&variables),
                        script: gateway.script_name(),
                        interpreter: Arc::clone(interpreter),
                        seat,
                        lease: Arc::clone(lease),
                        report: Report::Nothing,
                        ident: Attached::thread_ident(),
                        interrupted: false,
                        details: activity.slow_records().map(|records| {
                            Arc::new(Details::of(&variables, records, activity.active()))
                        }),
                    })));
                }
                let rest = gateway.run(variables, lease, &current);
                moments = gateway.seen.moments.get();
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
    request.leaving = true;
    let served = match rest {
        Rest::Fail(status) => Served::Failed(status),
        Rest::Nothing => Served::Done,
        Rest::Finish => match request.finish() {
            Ok(()) | Err(ChunkError::Send(_)) => Served::Done,
            // The head was checked while Python could still raise.
            Err(ChunkError::NotStarted | ChunkError::Head(_)) => Served::Failed(500),
        },
    };
    let mut candidate = before.and_then(activity::set_candidate);
    if let Some(line) = candidate.as_mut().and_then(Candidate::farewell) {
        request.log(Level::Warning, &line);
    }
    if let Some(waiting) = waiting.get() {
        let status = match served {
            Served::Failed(status) => status,
            Served::Done => request.status().unwrap_or(500),
        };
        let waited = waiting.so_far();
        let finished = Finished { status, moments, tally: &request.tally, waited };
        visit.record(&finished);
        if let Some((details, since)) = candidate.and_then(|it| Some((it.details?, it.since))) {
            visit.record_slow(&details, since, &finished);
        }
    }
    BUFFERS.set(request.into_buffers());
    served
}

/// Method and target of a request, for the log.
fn request_line(variables: &Result<'_, Builder<'_, '_>>) -> String {
    let text = |name| variables.as_ref().ok().and_then(|variables| variables.text(name));
    let method = text("REQUEST_METHOD").unwrap_or_default();
    let target = text("REQUEST_URI").or_else(|| text("PATH_INFO")).unwrap_or_default();
    format!("{method} {target}")
}

struct Gateway<'a, 'py> {
    py: Attached<'py>,
    interpreter: &'a Interpreter,
    process_group: &'a str,
    target: &'a Target<'a>,
    seen: Seen<'a, 'py>,
}

/// What is noted of a request because somebody wants to know it.
struct Seen<'a, 'py> {
    measurement: Option<Measurement>,
    waiting: &'a OnceCell<Waiting>,
    moments: Cell<Option<Moments>>,
    /// Where somebody listens to events.
    observation: OnceCell<Observation<'a, 'py>>,
}

impl<'a, 'py> Gateway<'a, 'py> {
    fn run(
        &self,
        variables: Result<'py, Builder<'_, 'py>>,
        lease: &Arc<Lease>,
        current: &CurrentRequest<'_, 'py>,
    ) -> Rest {
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
        let rest = match self.answer(application, variables, lease, current) {
            Ok(rest) => rest,
            Err(raised) => self.failed(raised, lease),
        };
        match self.seen.observation.get() {
            Some(observation) => self.finished(observation, rest, lease),
            None => rest,
        }
    }

    /// Tells that a request is over, once all of it is.
    fn finished(&self, observation: &Observation<'_, 'py>, rest: Rest, lease: &Lease) -> Rest {
        let rest = match rest {
            Rest::Finish => match lease.with_detached(self.py, |request| {
                request.leaving = true;
                request.finish()
            }) {
                Some(Err(ChunkError::NotStarted | ChunkError::Head(_))) => Rest::Fail(500),
                Some(Ok(()) | Err(ChunkError::Send(_))) | None => Rest::Nothing,
            },
            rest => rest,
        };
        let (status, tally) =
            lease.with(self.py, |request| (request.status(), request.tally)).unwrap_or_default();
        let told = observation.finished(&Ending {
            status: if let Rest::Fail(status) = rest { status } else { status.unwrap_or(500) },
            moments: self.seen.moments.get().unwrap_or_default(),
            tally: &tally,
            waited: self.seen.waiting.get().map(Waiting::so_far).unwrap_or_default(),
            measurement: self.seen.measurement,
        });
        if let Err(raised) = told {
            self.report(raised, lease);
        }
        rest
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
        match find_application(&self.interpreter.room.names, module, self.target) {
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
        mut application: Object<'py>,
        variables: Builder<'_, 'py>,
        lease: &Arc<Lease>,
        current: &CurrentRequest<'_, 'py>,
    ) -> Result<'py, Rest> {
        let py = self.py;
        let room = &self.interpreter.room;
        let environ = self.environ(variables, lease)?;
        current.set_environ(&environ)?;
        let mut subscribers = None;
        if let Some(observation) = Observation::begin(&room.subscribers, lease, &environ)? {
            // Its own script may have subscribed just now.
            self.seen.waiting.get_or_init(Waiting::measure);
            lease.with(py, |request| request.tally.timed = true);
            let moments = self.moments(&environ)?;
            application =
                observation.started(application, self.target.callable, &environ, &moments)?;
            self.seen.moments.set(Some(moments));
            // It is the first.
            let _ = self.seen.observation.set(observation);
            subscribers = Some(Arc::clone(&room.subscribers));
        } else if self.seen.measurement.is_some() {
            self.seen.moments.set(Some(self.moments(&environ)?));
        }
        let adapter = Adapter { lease: Arc::clone(lease), subscribers };
        let adapter = py.instantiate(&room.adapter.get(py), adapter)?;
        let start_response = adapter.attribute_of(&room.words.start_response.get(py))?;
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
        sent.map_err(Exception::restore)?;
        Ok(Rest::Nothing)
    }

    /// When the stations of a request were, as its environ says.
    fn moments(&self, environ: &Object<'py>) -> Result<'py, Moments> {
        let words = &self.interpreter.room.words;
        let moment = |word: &Shelf| match environ.item(&word.get(self.py))? {
            Some(time) => time.as_f64(),
            None => Ok(0.0),
        };
        Ok(Moments {
            request: moment(&words.request_start)?,
            queue: moment(&words.queue_start)?,
            daemon: moment(&words.daemon_start)?,
            application: moment(&words.application_start)?,
        })
    }

    /// The transport's variables.
    fn variables(
        &self,
        exchange: &mut dyn Exchange,
        native: Option<&Capsule<'py>>,
    ) -> Result<'py, Builder<'_, 'py>> {
        let py = self.py;
        let room = &self.interpreter.room;
        let beginning = Beginning {
            template: &room.template,
            words: &room.words,
            callable: self.target.callable,
            application_group: self.target.application_group,
        };
        let mut builder =
            Builder::begin(py, &room.names, beginning, |environ| exchange.environ(environ));
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
        builder.put(&words.application_start.get(py), &py.float(seconds_now())?)?;
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
        let mut unheard = None;
        while let Some(item) = items.next()? {
            let Some(bytes) = item.as_bytes() else {
                let text = format!(
                    "sequence of byte string values expected, value of type {} found",
                    item.type_name()
                );
                return Err(py.raise(ExceptionKind::Type, &text));
            };
            let sent = lease.with_detached(py, |request| {
                let sent = request.send_chunk(bytes);
                (sent, request.is_unheard())
            });
            let (sent, is_unheard) = sent.unzip();
            match sent {
                Some(Err(ChunkError::Send(why))) => {
                    self.client_gone(why, lease);
                    return Ok(());
                }
                sent => settle(py, sent)?,
            }
            if is_unheard == Some(true)
                && unheard.get_or_insert_with(Instant::now).elapsed() > DISCARD_LIMIT
            {
                let line = "the rest of the response is not asked for: nobody would get it";
                self.log(lease, Level::Debug, line);
                break;
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
        let timed_out = raised.is_of(&self.interpreter.room.request_timeout(py));
        if of_the_client {
            let exception = raised.take();
            let why = exception.value.text();
            self.log(lease, Level::Debug, &format!("the application gave up: {why}"));
        } else if timed_out {
            let (stage, end) = if stage >= Stage::Sending {
                (" after headers were sent", "response truncated")
            } else {
                ("", "thread recovered")
            };
            let line = format!("Request interrupted by RequestTimeout{stage}; {end}");
            self.log(lease, Level::Info, &line);
            self.tell_exception(&raised.take());
        } else {
            self.report(raised, lease);
        }
        if stage >= Stage::Sending {
            lease.with_detached(py, |request| request.cut());
            return Rest::Nothing;
        }
        match read_failure {
            _ if timed_out => Rest::Fail(504),
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
        self.tell_exception(&exception);
    }

    fn tell_exception(&self, exception: &Exception<'py>) {
        if let Some(observation) = self.seen.observation.get()
            && let Err(raised) = observation.exception(exception)
        {
            raised.clear();
        }
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
