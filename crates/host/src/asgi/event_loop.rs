//! The event loop of a process: made, run and ended by `server.py`, on the thread that calls [`run`].
#![forbid(unsafe_code)]

use crate::asgi::call;
use crate::asgi::current;
use crate::asgi::request::Request;
use crate::asgi::settings::{AsgiSettings, EventLoopKind, LifespanMode, StartupApplication};
use crate::asgi::shared::{self, Shared};
use crate::asgi::transport::{AsgiEvent, AsgiExecutor, AsgiSource};
use crate::cpython::{
    Arguments, Attached, Class, Exception, ExceptionKind, Instance, Method, Object, Persistent,
    Result,
};
use crate::failure;
use crate::gateway::target::{Served, Target};
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::script::{Reloading, ScriptFile};
use crate::log::SharedLog;
use crate::observe::activity::Activity;
use crate::observe::loop_requests::EventLoop;
use crate::observe::thread_id::thread_id;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use wsgi::Level;

/// In Python, because coroutines are awaited there.
const SOURCE: &str = concat!(
    include_str!("task_stack.py"),
    include_str!("tasks.py"),
    include_str!("lifespan.py"),
    include_str!("executors.py"),
    include_str!("exchange.py"),
    include_str!("websocket.py"),
    include_str!("server.py")
);

/// Why there is no event loop.
#[derive(Debug)]
pub(crate) struct LoopFailure;

/// What a loop serves, and from where.
pub(crate) struct Serving {
    pub(crate) source: Arc<dyn AsgiSource>,
    pub(crate) interpreter: Arc<Interpreter>,
    pub(crate) process_group: String,
    pub(crate) log: SharedLog,
    pub(crate) settings: AsgiSettings,
    pub(crate) activity: Arc<Activity>,
    /// Others look whether requests are slow.
    pub(crate) watches: bool,
}

/// Runs an event loop until its source ends it. The calling thread must not be attached.
///
/// # Errors
/// When the loop cannot be made; that has been logged.
pub(crate) fn run(serving: Serving) -> std::result::Result<(), LoopFailure> {
    let interpreter = Arc::clone(&serving.interpreter);
    let log = SharedLog::clone(&serving.log);
    let attachment = interpreter.attach().ok_or(LoopFailure)?;
    run_server(attachment.py(), serving).map_err(|raised| {
        let exception = raised.take();
        log.log(Level::Critical, b"WSGI0227: the event loop of ASGI has failed");
        failure::traceback(&exception, &mut |level, line| log.log(level, line.as_bytes()));
        LoopFailure
    })
}

/// `serve(server, settings)` of the source.
fn run_server<'py>(py: Attached<'py>, serving: Serving) -> Result<'py, ()> {
    let names = py.dict()?;
    names.set_item(&py.interned("__name__")?, &py.str("mod_wsgi.asgi")?)?;
    let builtins = py.import(c"builtins")?;
    names.set_item(&py.interned("__builtins__")?, &builtins)?;
    let file = py.interned("<mod_wsgi.asgi>")?;
    let code =
        builtins.call_method(c"compile", [&py.str(SOURCE)?, &file, &py.interned("exec")?])?;
    builtins.call_method(c"exec", [&code, &names])?;
    let missing = || py.raise(ExceptionKind::System, "server.py is incomplete");
    let variable = names.item(&py.interned("current_request")?)?.ok_or_else(missing)?;
    let serve = names.item(&py.interned("serve")?)?.ok_or_else(missing)?;
    let place_of = names.item(&py.interned("place_of")?)?.ok_or_else(missing)?;
    let report_tasks = names.item(&py.interned("report_tasks")?)?.ok_or_else(missing)?;
    let interrupt = names.item(&py.interned("interrupt")?)?.ok_or_else(missing)?;
    make_known(py, &serving, variable, [place_of, report_tasks, interrupt])?;
    let settings = settings(py, &serving.settings)?;
    let server = py.class::<Serving>()?.instantiate(serving)?;
    serve.call([&server, &settings])?;
    Ok(())
}

/// Makes the loop known to those who ask which request a task belongs to, and where it is.
fn make_known<'py>(
    py: Attached<'py>,
    serving: &Serving,
    variable: Object<'py>,
    functions: [Object<'py>; 3],
) -> Result<'py, ()> {
    let Serving { interpreter, activity, log, .. } = serving;
    let class = py.class::<Request>()?.persist();
    current::set_variable(variable, class);
    shared::set(Shared {
        interpreter: Arc::clone(interpreter),
        activity: Arc::clone(activity),
        log: SharedLog::clone(log),
    });
    let [place_of, report_tasks, interrupt] = functions.map(Persistent::new);
    if let Some(thread_state) = interpreter.python.thread_state() {
        activity.loop_requests.set_event_loop(EventLoop {
            thread: thread_id(),
            thread_state,
            concurrency: serving.settings.concurrency.into(),
            place_of,
            report_tasks,
            interrupt,
        });
    }
    Ok(())
}

/// The settings, as a dict.
fn settings<'py>(py: Attached<'py>, settings: &AsgiSettings) -> Result<'py, Object<'py>> {
    let seconds = |limit: Duration| py.float(limit.as_secs_f64());
    let dict = py.dict()?;
    let put = |name, value: Object<'py>| dict.set_item(&py.interned(name)?, &value);
    put(
        "lifespan",
        py.str(match settings.lifespan {
            LifespanMode::Auto => "auto",
            LifespanMode::On => "on",
            LifespanMode::Off => "off",
        })?,
    )?;
    put(
        "loop",
        py.str(match settings.event_loop {
            EventLoopKind::Auto => "auto",
            EventLoopKind::Asyncio => "asyncio",
            EventLoopKind::Uvloop => "uvloop",
        })?,
    )?;
    put("threads", py.int(settings.threads.into())?)?;
    put("startup_limit", seconds(settings.startup_limit)?)?;
    put("grace", seconds(settings.grace)?)?;
    put("shutdown_limit", settings.shutdown_limit.map_or(Ok(py.none()), seconds)?)?;
    put("applications", py.int(i64::try_from(settings.applications.len()).unwrap_or(0))?)?;
    Ok(dict)
}

type This<'a, 'py> = Instance<'a, 'py, Serving>;

impl Class for Serving {
    const NAME: &'static CStr = c"mod_wsgi.AsgiServer";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: c"descriptors", call: descriptors },
        Method { name: c"arrivals", call: arrivals },
        Method { name: c"progress", call: progress },
        Method { name: c"has_room", call: has_room },
        Method { name: c"note_function", call: note_function },
        Method { name: c"started", call: started },
        Method { name: c"note_lag", call: note_lag },
        Method { name: c"application", call: application },
        Method { name: c"load", call: load },
        Method { name: c"report", call: report },
        Method { name: c"log", call: log },
        Method { name: c"start_failed", call: start_failed },
    ];
}

/// `descriptors()`: of arrivals and of progress.
fn descriptors<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    let number = |fd: std::os::fd::BorrowedFd<'_>| py.int(fd.as_raw_fd().into());
    py.tuple([number(this.source.arrivals())?, number(this.source.progress())?])
}

/// `arrivals()`: a list of new requests, and `None` where the loop is to end.
fn arrivals<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    events(this.py(), this.source.take_arrivals(), this.watches)
}

/// `progress()`: a list of the numbers of requests that can go on, of new ones, and `None` where the loop is to end.
fn progress<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    events(this.py(), this.source.take_progress(), this.watches)
}

fn events<'py>(
    py: Attached<'py>,
    events: Vec<AsgiEvent>,
    is_watched: bool,
) -> Result<'py, Object<'py>> {
    let list = py.list()?;
    for event in events {
        list.append(&match event {
            AsgiEvent::Stop => py.none(),
            AsgiEvent::Ready(number) => py.int(i64::try_from(number).unwrap_or(-1))?,
            AsgiEvent::Request(exchange) => {
                current::instantiate(py, Request::new(exchange, is_watched))
                    .ok_or_else(|| py.raise(ExceptionKind::System, "no class of requests"))??
            }
        })?;
    }
    Ok(list)
}

fn has_room<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.source.has_room()))
}

/// `note_function(thread_sensitive, over)`: an executor has been given a function, or one is over.
fn note_function<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("note_function", 2, 2)?;
    let is_true = |index| arguments.get(index).map_or(Ok(false), |it| it.is_true());
    let executor = if is_true(0)? { AsgiExecutor::ThreadSensitive } else { AsgiExecutor::Default };
    this.source.note_function(executor, is_true(1)?);
    Ok(this.py().none())
}

/// `started(failed)`
fn started<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let failed = arguments.get(0).map(|failed| failed.is_true()).transpose()?.unwrap_or(false);
    this.source.started(failed);
    Ok(this.py().none())
}

/// `note_lag(micros)`: how late a timer was; whether a request is under way.
fn note_lag<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let micros = arguments.get(0).map(|lag| lag.as_index()).transpose()?.unwrap_or(0);
    // A timer may be early by the resolution of the clock.
    let lag = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    Ok(this.py().bool(this.source.note_lag(lag)))
}

/// `application(index)`: one that is told of the start, with its script; `None` where the script has none of the name.
fn application<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    let index = arguments.get(0).map(|index| index.as_index()).transpose()?.unwrap_or(0);
    let known = usize::try_from(index).ok().and_then(|at| this.settings.applications.get(at));
    let Some(StartupApplication { script, callable }) = known else { return Ok(py.none()) };
    let target = Target {
        script: ScriptFile {
            path: script,
            modified: None,
            reloading: Reloading::Never,
            case_sensitive: true,
            replacement: None,
        },
        callable,
        application_group: b"",
        main_interpreter: true,
        is_elsewhere: false,
    };
    // What is wrong with it has been logged when it was loaded, or is when a request comes.
    let found =
        call::application(py, &this.interpreter, &this.process_group, &target, &mut |_, _| {});
    match found {
        Ok(application) => {
            let script = py.str(&String::from_utf8_lossy(script))?;
            py.tuple([application, script])
        }
        Err(_) => Ok(py.none()),
    }
}

impl Serving {
    /// Whether anything is to be noted of a request.
    fn observes(&self, py: Attached<'_>) -> bool {
        let subscribers = &self.interpreter.state.subscribers;
        self.watches
            || self.activity.is_measuring()
            || subscribers.active_requests.get().is_some()
            || subscribers.subscribed_to_requests(py)
    }
}

/// `load(request)`: its application, with the script, and `None`. Where it asks for a WebSocket or is to be observed, there is
/// a pair in place of that: whether it asks for one, and if it is to be observed the name of the application in the script.
/// `None` alone where it has been answered without the application.
fn load<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("load", 1, 1)?;
    let Some(request) = arguments.get(0) else { return Ok(py.none()) };
    let mut found = None;
    let mut find = |target: &Target<'_>, log: &mut dyn FnMut(Level, &[u8])| {
        let group = &this.process_group;
        match call::application(py, &this.interpreter, group, target, log) {
            Ok(application) => {
                let name = this.observes(py).then(|| target.callable.to_vec());
                let script = String::from_utf8_lossy(target.script.path).into_owned();
                found = Some((application, script, name));
                Served::Done
            }
            Err(served) => served,
        }
    };
    let mut is_websocket = false;
    current::with_request(&request, |request| {
        request.while_running(|gate| {
            is_websocket = gate.is_websocket();
            gate.load(&mut find)
        })
    });
    match found {
        Some((application, script, name)) => {
            if this.interpreter.state.json.is_some() {
                current::with_request(&request, Request::keep_id);
            }
            let more = if is_websocket || name.is_some() {
                let name = name.map_or(Ok(py.none()), |name| py.latin1(&name))?;
                py.tuple([py.bool(is_websocket), name])?
            } else {
                py.none()
            };
            this.activity.begin_on_loop();
            py.tuple([application, py.str(&script)?, more])
        }
        None => {
            current::with_request(&request, Request::forget);
            Ok(py.none())
        }
    }
}

/// `report(request, exc_info, script)`: logs what the application has raised, and answers.
fn report<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("report", 3, 3)?;
    let (Some(request), Some(info), Some(script)) =
        (arguments.get(0), arguments.get(1), arguments.get(2))
    else {
        return Ok(py.none());
    };
    if let Some(exception) = Exception::from_exc_info(&info)? {
        let (group, script) = (&this.process_group, script.text());
        let lines = call::report(&this.interpreter, group, &script, &exception);
        current::with_request(&request, |request| {
            if request.fail(&exception, &lines) {
                request.tell_exception(py, &exception);
            }
        });
    }
    Ok(py.none())
}

/// `log(level, text)`: lines for the log of the process group.
fn log<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("log", 2, 2)?;
    let text = |index| arguments.get(index).map(|text| text.text()).unwrap_or_default();
    let level = match text(0).as_str() {
        "error" => Level::Error,
        "warning" => Level::Warning,
        "info" => Level::Info,
        _ => Level::Debug,
    };
    for line in text(1).lines().filter(|line| !line.trim().is_empty()) {
        this.log.log(level, line.as_bytes());
    }
    Ok(this.py().none())
}

/// `start_failed(script, why, text)`: an application has not started; the lines of the text tell more.
fn start_failed<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("start_failed", 3, 3)?;
    let text = |index| arguments.get(index).map(|text| text.text()).unwrap_or_default();
    let (script, why, more) = (text(0), text(1), text(2));
    let line = format!("WSGI0225: [script {script}] the ASGI application has not started: {why}");
    this.log.log(Level::Error, line.as_bytes());
    let lines = more.lines().filter(|line| !line.trim().is_empty());
    lines.for_each(|line| this.log.log(Level::Error, line.as_bytes()));
    Ok(this.py().none())
}
