//! The terminal while top has it, and as it was afterwards, whatever ends the command. It knows nothing of groups.

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::io::{self, Stdout};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use sys::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, Signals};

/// What ends the command from outside; Ctrl-C is a key.
const SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The terminal. To drop this restores it.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    signals: Signals,
    events: Receiver<io::Result<Event>>,
    /// A thread has panicked, and the terminal is restored already.
    has_panicked: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> io::Result<Self> {
        let signals = Signals::watch(&SIGNALS)?;
        let has_panicked = restore_at_panic();
        enable_raw_mode()?;
        let made = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match made {
            Ok(terminal) => Ok(Self { terminal, signals, events: read_events(), has_panicked }),
            Err(why) => {
                restore();
                Err(why)
            }
        }
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Whether the command is to end: by a signal, or because the terminal is gone. It is an error that a thread has panicked.
    pub(super) fn is_lost(&self) -> io::Result<bool> {
        if self.has_panicked.load(Ordering::SeqCst) {
            return Err(io::Error::other("a thread has panicked"));
        }
        Ok(!self.signals.take(&SIGNALS).is_empty() || sys::has_hung_up(io::stdin().as_fd()))
    }

    /// What has happened within that time.
    pub(super) fn events(&self, within: Duration) -> io::Result<Vec<Event>> {
        match self.events.recv_timeout(within) {
            Ok(first) => std::iter::once(first).chain(self.events.try_iter()).collect(),
            Err(RecvTimeoutError::Timeout) => Ok(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("keys cannot be read")),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Reads keys on a thread of its own, which ends with the process: crossterm waits for the rest of a sequence of bytes without
/// a limit, and reads for ever from a terminal that is gone. Neither may keep the command from ending.
fn read_events() -> Receiver<io::Result<Event>> {
    let (tell, events) = mpsc::channel();
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if tell.send(event).is_err() || is_last {
                return;
            }
        }
    });
    events
}

/// From now on a panic of any thread is printed where it can be read; whether there was one.
fn restore_at_panic() -> Arc<AtomicBool> {
    let has_panicked = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&has_panicked);
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        noted.store(true, Ordering::SeqCst);
        restore();
        print(panic);
    }));
    has_panicked
}

/// Nothing can be done about a terminal that is gone.
fn restore() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
