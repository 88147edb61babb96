//! The command top: a live view of the process groups of a server in a terminal, or with `--json` lines for a program. A
//! thread asks the managers, so that keys are answered while one of them says nothing.

mod figures;
mod keys;
mod screen;
mod source;
mod state;
mod stream;
mod view;

use crate::control::find;
use crate::failure::Failure;
use crate::options::OfTop;
use keys::Effect;
use screen::Screen;
use source::{Source, Told};
use state::State;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

/// How long a key is waited for before what has been told is looked at.
const STEP: Duration = Duration::from_millis(100);

/// Shows the groups until the user ends it, or the terminal is gone.
pub(crate) fn top(options: OfTop) -> Result<ExitCode, Failure> {
    if options.groups.control.json {
        return stream::stream(&options);
    }
    if options.count.is_some() {
        return Err(Failure::usage("--count is for top --json"));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("top needs a terminal; top --json, status and ps need none"));
    }
    let options = options.groups;
    // What is wrong with the options is said before the screen is another one.
    find::groups(&options.control, options.group.as_deref())?;
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // It ends with the process: a manager that says nothing keeps nothing waiting.
    let source = Source::start(options);
    let failed = |why: io::Error| Failure::server(format!("the terminal: {why}"));
    let mut screen = Screen::take().map_err(failed)?;
    let shown = show(&mut screen, &source, has_colours);
    // The terminal is as it was before anything is said.
    drop(screen);
    shown.map(|()| ExitCode::SUCCESS).map_err(failed)
}

fn show(screen: &mut Screen, source: &Source, has_colours: bool) -> io::Result<()> {
    let mut state = State::default();
    loop {
        if screen.is_lost()? {
            return Ok(());
        }
        screen.draw(|frame| view::draw(frame, &mut state, has_colours))?;
        for event in screen.events(STEP)? {
            match keys::handle(&mut state, &event) {
                Effect::None => {}
                Effect::Quit => return Ok(()),
                Effect::Stacks(question) => source.ask_stacks(question),
            }
        }
        for told in source.told() {
            match told {
                Told::Status(groups, at) => state.note(groups, at),
                Told::Stacks(pid, text) => state.note_stacks(pid, text),
            }
        }
        if let Some(question) = state.stacks_to_refresh() {
            source.ask_stacks(question);
        }
    }
}
