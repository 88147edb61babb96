//! What keys do to the state. It draws nothing and asks no manager.

use super::source::StacksOf;
use super::state::State;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What has to be done beside a change of the state.
#[derive(Debug)]
pub(super) enum Effect {
    None,
    Quit,
    /// Stacks are to be asked for.
    Stacks(StacksOf),
}

/// How many rows a page is.
const PAGE: u16 = 10;
/// More than any name has.
const LONGEST_FILTER: usize = 200;

pub(super) fn handle(state: &mut State, event: &Event) -> Effect {
    let Event::Key(key) = event else { return Effect::None };
    if key.kind == KeyEventKind::Release {
        return Effect::None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Effect::Quit } else { Effect::None };
    }
    if state.is_filtering {
        edit_filter(state, key);
        return Effect::None;
    }
    if state.stacks.is_some() && handle_in_stacks(state, key.code) {
        return Effect::None;
    }
    match key.code {
        KeyCode::Char('q') => return Effect::Quit,
        KeyCode::Char('s') => state.order = state.order.next(),
        KeyCode::Char('/') => state.is_filtering = true,
        KeyCode::Esc => state.filter.clear(),
        KeyCode::Up | KeyCode::Char('k') => state.move_selection(-1),
        KeyCode::Down | KeyCode::Char('j') => state.move_selection(1),
        KeyCode::PageUp => state.move_selection(-(PAGE as isize)),
        KeyCode::PageDown => state.move_selection(PAGE as isize),
        KeyCode::Home => state.move_selection(isize::MIN),
        KeyCode::End => state.move_selection(isize::MAX),
        KeyCode::Enter => return state.open_stacks().map_or(Effect::None, Effect::Stacks),
        _ => {}
    }
    Effect::None
}

/// Keys of the stacks; whether this is one.
fn handle_in_stacks(state: &mut State, code: KeyCode) -> bool {
    let Some(stacks) = &mut state.stacks else { return false };
    match code {
        KeyCode::Esc | KeyCode::Enter => state.stacks = None,
        KeyCode::Up | KeyCode::Char('k') => stacks.scroll = stacks.scroll.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => stacks.scroll = stacks.scroll.saturating_add(1),
        KeyCode::PageUp => stacks.scroll = stacks.scroll.saturating_sub(PAGE),
        KeyCode::PageDown => stacks.scroll = stacks.scroll.saturating_add(PAGE),
        KeyCode::Home => stacks.scroll = 0,
        _ => return false,
    }
    true
}

fn edit_filter(state: &mut State, key: &KeyEvent) {
    match key.code {
        KeyCode::Enter => state.is_filtering = false,
        KeyCode::Esc => {
            state.is_filtering = false;
            state.filter.clear();
        }
        KeyCode::Backspace => drop(state.filter.pop()),
        KeyCode::Char(character) if state.filter.len() < LONGEST_FILTER => {
            state.filter.push(character);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::top::state::Order;

    fn press(state: &mut State, code: KeyCode) -> Effect {
        handle(state, &Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    #[test]
    fn keys_change_order_and_filter_and_end() {
        let mut state = State::default();
        press(&mut state, KeyCode::Char('s'));
        assert_eq!(state.order, Order::Rate);
        for code in ['/', 'q', 'é', 'x'].map(KeyCode::Char) {
            assert!(matches!(press(&mut state, code), Effect::None));
        }
        press(&mut state, KeyCode::Backspace);
        press(&mut state, KeyCode::Enter);
        assert_eq!((state.filter.as_str(), state.is_filtering), ("qé", false));
        press(&mut state, KeyCode::Esc);
        assert!(state.filter.is_empty());
        assert!(matches!(press(&mut state, KeyCode::Enter), Effect::None));
        assert!(matches!(press(&mut state, KeyCode::Char('q')), Effect::Quit));
        press(&mut state, KeyCode::Char('/'));
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(matches!(handle(&mut state, &Event::Key(control)), Effect::Quit));
    }
}
