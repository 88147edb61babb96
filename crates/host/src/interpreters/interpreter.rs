//! Interpreters of this process: the main one and a sub-interpreter per named application group,
//! and each thread's seat in each of them.
#![forbid(unsafe_code)]

use crate::cpython::{Attachment, InterpreterState, ThreadState};
use crate::interpreters::state::Room;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// One interpreter, with what this crate keeps in it.
pub(crate) struct Interpreter {
    /// The application group; empty for the main interpreter.
    pub(crate) name: String,
    /// Where a thread keeps its seat.
    index: usize,
    state: InterpreterState,
    seats: Mutex<Vec<ThreadState>>,
    pub(crate) room: Room,
}

/// The interpreters of a process.
pub(crate) type Interpreters = Arc<RwLock<HashMap<Box<[u8]>, Arc<Interpreter>>>>;

thread_local! {
    /// This thread's seats, by [`Interpreter::index`]. They live as long as the thread, because
    /// `threading.local` data lives in them.
    static SEATS: RefCell<Vec<Option<ThreadState>>> = const { RefCell::new(Vec::new()) };
}

/// Whether the calling thread is attached to an interpreter. That can be so where it was interrupted by a signal:
/// prefork ends its children in a signal handler.
pub(crate) fn is_attached() -> bool {
    let attached =
        |seats: &Vec<Option<ThreadState>>| seats.iter().flatten().any(|it| it.is_attached());
    // If it is just taking a seat it cannot be told.
    SEATS.with(|seats| seats.try_borrow().map_or(true, |seats| attached(&seats)))
}

impl Interpreter {
    pub(crate) fn new(name: String, index: usize, first: ThreadState, room: Room) -> Self {
        set_seat(index, first);
        Self { name, index, state: first.interpreter(), seats: Mutex::new(vec![first]), room }
    }

    /// The calling thread's seat, made at its first visit. `None` when memory is exhausted.
    pub(crate) fn seat(&self) -> Option<ThreadState> {
        let known = SEATS.with_borrow(|seats| seats.get(self.index).copied().flatten());
        known.or_else(|| {
            let seat = self.state.new_thread_state()?;
            set_seat(self.index, seat);
            self.seats.lock().unwrap_or_else(PoisonError::into_inner).push(seat);
            Some(seat)
        })
    }

    /// A seat for a thread that passes by: nobody keeps it, so the thread has to give it up itself.
    pub(crate) fn passing_seat(&self) -> Option<ThreadState> {
        self.state.new_thread_state()
    }

    /// Attaches the calling thread.
    pub(crate) fn attach(&self) -> Option<Attachment> {
        self.seat().map(ThreadState::attach)
    }

    /// The calling thread will not come back: gives its seat up, and with it what `threading.local` keeps. Not
    /// for the thread that made the interpreter, which `threading` waits for.
    pub(crate) fn leave(&self) {
        let place = |seats: &mut Vec<Option<ThreadState>>| seats.get_mut(self.index)?.take();
        if let Some(own) = SEATS.with_borrow_mut(place) {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            seats.retain(|&seat| seat != own);
            drop(seats);
            own.attach_and_give_up();
        }
    }

    /// The seats of all threads but the calling one, given up by it for them.
    pub(crate) fn take_other_seats(&self) -> Vec<ThreadState> {
        let own = SEATS.with_borrow(|seats| seats.get(self.index).copied().flatten());
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let others = seats.iter().copied().filter(|&seat| Some(seat) != own).collect();
        seats.retain(|&seat| Some(seat) == own);
        others
    }
}

fn set_seat(index: usize, seat: ThreadState) {
    SEATS.with_borrow_mut(|seats| {
        if seats.len() <= index {
            seats.resize(index + 1, None);
        }
        if let Some(place) = seats.get_mut(index) {
            *place = Some(seat);
        }
    });
}
