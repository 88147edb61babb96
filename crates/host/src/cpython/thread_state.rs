//! Interpreters and thread states: who they are, and how a thread attaches to one.

use super::{Attached, Object};
use pyo3_ffi as ffi;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// One interpreter of this process, until it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterpreterState(NonNull<ffi::PyInterpreterState>);

// SAFETY: a name for an interpreter; CPython serialises what is done with it.
unsafe impl Send for InterpreterState {}
// SAFETY: as above.
unsafe impl Sync for InterpreterState {}

/// One thread's seat in one interpreter. It is kept for the thread's life, because
/// `threading.local` data lives in it (design.md section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadState(NonNull<ffi::PyThreadState>);

// SAFETY: only the thread it was made for attaches it; others only clear it once that thread is gone.
unsafe impl Send for ThreadState {}
// SAFETY: as above.
unsafe impl Sync for ThreadState {}

/// Whether interpreters can have locks of their own.
pub(crate) const HAS_OWN_GIL: bool = cfg!(Py_3_12);
/// Whether this Python is built to run without its lock.
pub(crate) const FREE_THREADED: bool = cfg!(Py_GIL_DISABLED);

/// An attachment: until it is dropped this thread may run Python code in the interpreter, and where that
/// has a lock, this thread holds it.
pub(crate) struct Attachment(PhantomData<*mut ()>);

impl Attachment {
    /// Whether there is a lock, so that no other thread runs in the interpreter meanwhile.
    pub(crate) fn is_exclusive(&self) -> bool {
        if !FREE_THREADED {
            return true;
        }
        let asked =
            self.py().import(c"sys").and_then(|sys| sys.call_method(c"_is_gil_enabled", []));
        asked.and_then(|enabled| enabled.is_true()).unwrap_or_else(|raised| {
            raised.clear();
            false
        })
    }

    /// The token that proves it.
    pub(crate) const fn py(&self) -> Attached<'_> {
        // SAFETY: the thread state was attached when `self` was made and stays so while it lives.
        unsafe { Attached::assume() }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: this thread is attached. The saved state is known to its owner already.
        unsafe { ffi::PyEval_SaveThread() };
    }
}

impl InterpreterState {
    /// A seat for the calling thread.
    pub(crate) fn new_thread_state(self) -> Option<ThreadState> {
        // SAFETY: the interpreter has not been ended; CPython takes its own lock.
        NonNull::new(unsafe { ffi::PyThreadState_New(self.0.as_ptr()) }).map(ThreadState::numbered)
    }
}

impl ThreadState {
    /// The seat that is current, detached from the thread. For use right after CPython itself has
    /// made one (`Py_InitializeFromConfig`, `Py_NewInterpreter`).
    ///
    /// # Safety
    /// This thread is attached.
    pub(super) unsafe fn detach_current() -> Option<Self> {
        // SAFETY: the caller's promise.
        NonNull::new(unsafe { ffi::PyEval_SaveThread() }).map(Self::numbered)
    }

    /// A seat that has just been made.
    fn numbered(state: NonNull<ffi::PyThreadState>) -> Self {
        #[cfg(not(Py_3_12))]
        number::make_unique(state);
        Self(state)
    }

    /// For the only seat of the process, in the thread that has just started Python or been forked.
    pub(super) fn is_only(self) {
        #[cfg(not(Py_3_12))]
        gil_state::find(self);
    }

    /// Attaches the calling thread, which must be the one this seat was made for and must not be
    /// attached already. Blocks until the interpreter's lock is free.
    pub(crate) fn attach(self) -> Attachment {
        // SAFETY: the seat is live until `give_up` or `end_interpreter` consumed it.
        super::waiting::timed(|| unsafe { ffi::PyEval_RestoreThread(self.0.as_ptr()) });
        #[cfg(not(Py_3_12))]
        gil_state::follow(self);
        Attachment(PhantomData)
    }

    /// Whether the thread of this seat is attached by it at this moment. For that thread itself: of others the
    /// answer is old when it comes.
    pub(crate) fn is_attached(self) -> bool {
        // SAFETY: only reads which state is current, if any; Python has been started.
        unsafe { ffi::compat::PyThreadState_GetUnchecked() == self.0.as_ptr() }
    }

    /// The interpreter it sits in.
    pub(crate) fn interpreter(self) -> InterpreterState {
        // SAFETY: a live thread state always has an interpreter.
        unsafe {
            InterpreterState(NonNull::new_unchecked(ffi::PyThreadState_GetInterpreter(
                self.0.as_ptr(),
            )))
        }
    }

    /// Makes a new interpreter that shares the main one's lock (`Py_NewInterpreter`), from a thread
    /// that is not attached and sits in the main interpreter by `self`. What it gives is the calling
    /// thread's seat in the new one.
    pub(crate) fn new_interpreter(self) -> Option<Self> {
        let attachment = self.attach();
        // SAFETY: attached to the main interpreter. On success the new state is current; it is
        // detached by swapping the old one back in, which shares the same lock.
        let new = unsafe {
            let new = NonNull::new(ffi::Py_NewInterpreter());
            ffi::PyThreadState_Swap(self.0.as_ptr());
            new
        };
        drop(attachment);
        new.map(Self::numbered)
    }

    /// The Python frame in which the thread of this seat is, of which the caller's own is another one in
    /// the same interpreter. `None` also without a lock, where that thread would go on while it is looked
    /// at.
    pub(crate) fn frame(self, attachment: &Attachment) -> Option<Object<'_>> {
        if !attachment.is_exclusive() {
            return None;
        }
        // SAFETY: the attachment holds the interpreter's lock, so the thread does not run, and seats
        // live until no request is served any more; null is a thread that is in no frame.
        unsafe {
            let frame = PyThreadState_GetFrame(self.0.as_ptr());
            if frame.is_null() {
                return None;
            }
            Object::from_owned(attachment.py(), frame).ok()
        }
    }

    /// The same for an interpreter with a lock of its own. CPython only lets in extension modules that say
    /// they are ready for it, and gives it neither `fork` nor daemon threads.
    #[cfg(Py_3_12)]
    pub(crate) fn new_isolated_interpreter(self) -> Option<Self> {
        let attachment = self.attach();
        let mut new = std::ptr::null_mut();
        // SAFETY: attached to the main interpreter. CPython reads the configuration and writes the new
        // state. On success the main interpreter's lock has been given back and the new one's is held; on
        // failure the old state is current again.
        let status = unsafe {
            ffi::Py_NewInterpreterFromConfig(&raw mut new, &ffi::_PyInterpreterConfig_INIT)
        };
        // SAFETY: a status that CPython has just returned.
        if new.is_null() || unsafe { ffi::PyStatus_Exception(status) } != 0 {
            return None;
        }
        std::mem::forget(attachment);
        // SAFETY: attached, by the new state.
        unsafe { Self::detach_current() }
    }

    /// There are none before Python 3.12.
    #[cfg(not(Py_3_12))]
    pub(crate) fn new_isolated_interpreter(self) -> Option<Self> {
        self.new_interpreter()
    }

    /// Clears and deletes the seat of a thread that will not use it again, from an attachment to the
    /// same interpreter by another seat.
    pub(crate) fn give_up(self, attachment: &Attachment) {
        // SAFETY: clearing wants an attachment to the interpreter, with its lock where it has one. Called
        // only by `Host::stop`, once no request is served any more, so no thread uses the seat.
        unsafe { ffi::PyThreadState_Clear(self.0.as_ptr()) };
        // From 3.12 on deleting a seat makes the calling thread forget which one it has itself, and
        // its next `PyGILState_Ensure` would wait for the lock that it holds. A thread that has none
        // can forget nothing. It is waited for detached: deleting may have to wait until a thread that is
        // just making a seat has stopped all others, where there is no lock.
        attachment.py().detached(|| {
            std::thread::scope(|scope| {
                let helper = std::thread::Builder::new().spawn_scoped(scope, || self.delete());
                if helper.is_err() {
                    self.delete();
                }
            });
        });
    }

    /// The second half of [`ThreadState::give_up`].
    fn delete(self) {
        // SAFETY: cleared by `give_up`, the only caller; deleting needs no lock of the interpreter's.
        unsafe { ffi::PyThreadState_Delete(self.0.as_ptr()) };
    }

    /// Attaches once more and gives the calling thread's own seat up.
    pub(crate) fn attach_and_give_up(self) {
        std::mem::forget(self.attach());
        // SAFETY: attached by this very seat, as both functions want; the second one gives the lock back.
        unsafe {
            ffi::PyThreadState_Clear(self.0.as_ptr());
            ffi::PyThreadState_DeleteCurrent();
        }
    }

    /// Whether other threads have seats in this interpreter. The caller is attached to it by `self`.
    pub(crate) fn has_company(self, _attachment: &Attachment) -> bool {
        // SAFETY: attached. Without a lock another thread's state may come or go meanwhile, but of those
        // only the address is looked at; the one that is followed is the caller's own.
        unsafe {
            let head = ffi::PyInterpreterState_ThreadHead(self.interpreter().0.as_ptr());
            head != self.0.as_ptr() || !ffi::PyThreadState_Next(head).is_null()
        }
    }

    /// Ends the sub-interpreter: `threading` shutdown, `atexit`, then all its objects
    /// (`Py_EndInterpreter`). `main` is the calling thread's seat in the main interpreter. No other
    /// thread may have a seat in it ([`ThreadState::has_company`]).
    pub(super) fn end_interpreter(self, main: Self) {
        std::mem::forget(self.attach());
        // SAFETY: attached by `self`; CPython itself checks that it is the last seat. Up to 3.11 the function returns with the lock held and no
        // state current, so that another state has to take the lock over to give it back; from 3.12
        // on it returns without the lock.
        unsafe {
            ffi::Py_EndInterpreter(self.0.as_ptr());
            if cfg!(not(Py_3_12)) {
                ffi::PyThreadState_Swap(main.0.as_ptr());
                ffi::PyEval_SaveThread();
            }
        }
    }
}

unsafe extern "C" {
    /// In CPython since 3.9. The bindings have it with a type of their own for frames.
    fn PyThreadState_GetFrame(state: *mut ffi::PyThreadState) -> *mut ffi::PyObject;
}

/// What `PyGILState_Ensure` takes for the calling thread's state, up to 3.11: the first one the thread
/// ever had, in whichever interpreter. An extension that calls it back in another one (`sqlite3` when a
/// connection is closed) would wait for the lock it holds, or run in the wrong interpreter. Here it
/// follows the seat that is attached, as CPython itself does it from 3.12 on.
///
/// CPython keeps it under a thread-specific key whose number it does not tell; [`find`] looks for it.
#[cfg(not(Py_3_12))]
mod gil_state {
    use super::ThreadState;
    use pyo3_ffi as ffi;
    use std::sync::atomic::{AtomicU32, Ordering};

    const NONE: u32 = u32::MAX;
    /// Found once Python has started, and again after a fork, for which CPython makes a new one.
    static KEY: AtomicU32 = AtomicU32::new(NONE);

    /// Looks for the key in a thread whose only seat is `first`. Where it cannot be told for sure,
    /// everything stays as CPython has it.
    pub(super) fn find(first: ThreadState) {
        // SAFETY: asks for a number.
        let most = unsafe { libc::sysconf(libc::_SC_THREAD_KEYS_MAX) };
        let most = libc::pthread_key_t::try_from(most).unwrap_or(0);
        // SAFETY: both C libraries of Linux answer null for a key that is not in use.
        let value = |key| unsafe { libc::pthread_getspecific(key) };
        let mut keys = (0..most).filter(|&key| value(key) == first.0.as_ptr().cast());
        let found = match (keys.next(), keys.next()) {
            (Some(key), None) if is_the_one(key, first) => key,
            _ => NONE,
        };
        KEY.store(found, Ordering::Relaxed);
    }

    /// Whether CPython sees what is stored under the key.
    fn is_the_one(key: libc::pthread_key_t, first: ThreadState) -> bool {
        // SAFETY: the key is in use, and holds `first` again before anybody else looks: it belongs to
        // this thread. CPython only reads it.
        unsafe {
            libc::pthread_setspecific(key, std::ptr::null());
            let seen = ffi::PyGILState_GetThisThreadState();
            libc::pthread_setspecific(key, first.0.as_ptr().cast());
            seen.is_null() && ffi::PyGILState_GetThisThreadState() == first.0.as_ptr()
        }
    }

    /// The calling thread is now attached by `seat`.
    pub(super) fn follow(seat: ThreadState) {
        let key = KEY.load(Ordering::Relaxed);
        if key != NONE {
            // SAFETY: CPython's own key, in use until it is finalised, after which nobody attaches;
            // the value is a thread state of this thread, which is what CPython stores there.
            unsafe { libc::pthread_setspecific(key, seat.0.as_ptr().cast()) };
        }
    }
}

/// Numbers of thread states, up to 3.11. CPython counts them in each interpreter from 1, but `asyncio` remembers by
/// that number alone, for all interpreters, in which thread an event loop runs. A thread in another application's
/// interpreter would be taken for it: Django refuses its database there, and every loop to be started. So seats have
/// numbers of their own. Threads that applications start keep CPython's.
#[cfg(not(Py_3_12))]
mod number {
    use pyo3_ffi as ffi;
    use std::ptr::NonNull;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Where the number stands in the structure, which the bindings do not have. Proved each time.
    const OFFSET: usize = if cfg!(Py_3_11) { 240 } else { 256 };
    /// Beyond what CPython's own counters come to.
    const FIRST: i64 = 1 << 40;
    static NEXT: AtomicU32 = AtomicU32::new(0);

    /// Gives a state that nobody uses yet another number. Where it cannot be told for sure where that
    /// stands, everything stays as CPython has it.
    pub(super) fn make_unique(state: NonNull<ffi::PyThreadState>) {
        if cfg!(not(target_pointer_width = "64")) {
            return;
        }
        let new = FIRST + i64::from(NEXT.fetch_add(1, Ordering::Relaxed));
        // SAFETY: a live state; the structure goes on beyond the offset in 3.10 and 3.11, and is aligned for a
        // number. Nobody else uses the state, so a number that was another field's is back before that is read.
        unsafe {
            let place = state.as_ptr().cast::<u8>().add(OFFSET).cast::<i64>();
            let old = ffi::PyThreadState_GetID(state.as_ptr());
            if place.read() != old {
                return;
            }
            place.write(new);
            if ffi::PyThreadState_GetID(state.as_ptr()) != new {
                place.write(old);
            }
        }
    }
}
