//! An interpreter and the thread states that this crate has in it.
//!
//! Each thread keeps its state for its life, because `threading.local` data lives in it (docs/safety.md). What
//! applications do in an interpreter is not known here.

use super::Object;
use super::thread_state::{Attachment, ThreadState};
use pyo3_ffi as ffi;
use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One interpreter of this process.
pub(crate) struct InterpreterHandle {
    raw: InterpreterPointer,
    /// Where a thread keeps its state of this interpreter in [`THREAD_STATES`].
    index: usize,
    /// Of all threads, but for temporary ones. `None` once the interpreter is being ended: no thread gets a state any
    /// more. A state that is in the list is not deleted while the list is locked.
    states: Mutex<Option<Vec<Arc<ThreadState>>>>,
}

struct InterpreterPointer(NonNull<ffi::PyInterpreterState>);

// SAFETY: only a name for an interpreter; CPython itself serialises what it is passed to here, which is
// `PyThreadState_New` and `PyInterpreterState_ThreadHead`.
unsafe impl Send for InterpreterPointer {}
// SAFETY: as for `Send`; the pointer never changes.
unsafe impl Sync for InterpreterPointer {}

/// Makes a copy of the process; `None` in the copy. The copy has the calling thread only, so that it must not
/// need what other threads have locked: CPython and the C library see to their own locks.
pub(crate) type Fork<T> = unsafe fn() -> io::Result<Option<T>>;

thread_local! {
    /// The states of this thread, by [`InterpreterHandle::index`].
    static THREAD_STATES: RefCell<Vec<Option<Arc<ThreadState>>>> = const { RefCell::new(Vec::new()) };
}

static NEXT_INDEX: AtomicUsize = AtomicUsize::new(0);

/// Whether the calling thread is attached to an interpreter by a state of its own. That can be so where it was
/// interrupted by a signal: prefork ends its children in a signal handler.
pub(crate) fn is_attached() -> bool {
    let attached = |states: &Vec<Option<Arc<ThreadState>>>| {
        states.iter().flatten().any(|state| state.is_attached())
    };
    // A thread that was interrupted while it stored a new state is taken for one that is attached.
    THREAD_STATES.with(|states| states.try_borrow().map_or(true, |states| attached(&states)))
}

impl InterpreterHandle {
    /// The interpreter of a state that CPython has just made for the calling thread.
    pub(super) fn of(first: ThreadState) -> Self {
        // SAFETY: nothing but the handle deletes the state, and a state has an interpreter from first to last.
        let raw =
            unsafe { NonNull::new_unchecked(ffi::PyThreadState_GetInterpreter(first.as_ptr())) };
        let first = Arc::new(first);
        let index = NEXT_INDEX.fetch_add(1, Ordering::Relaxed);
        cache_thread_state(index, &first);
        let states = Mutex::new(Some(vec![first]));
        Self { raw: InterpreterPointer(raw), index, states }
    }

    /// Where CPython has it, to be compared.
    pub(crate) fn address(&self) -> usize {
        self.raw.0.as_ptr() as usize
    }

    /// Where CPython has the thread states of this crate, for reading by the kernel: each may be deleted at any time.
    /// None where another thread is just changing the list.
    pub(crate) fn state_addresses(&self) -> Vec<usize> {
        let states = self.states.try_lock();
        let states = states.iter().filter_map(|states| states.as_ref()).flatten();
        states.map(|state| state.as_ptr() as usize).collect()
    }

    /// Attaches the calling thread, with a new state at its first time. `None` when memory is exhausted, and once the
    /// interpreter is being ended.
    pub(crate) fn attach(&self) -> Option<Attachment> {
        let state = self.thread_state()?;
        // SAFETY: `thread_state` gives the calling thread's own.
        unsafe { state.attach() }
    }

    /// The calling thread's state, made at its first time.
    pub(crate) fn thread_state(&self) -> Option<Arc<ThreadState>> {
        let known = THREAD_STATES.with_borrow(|states| states.get(self.index).cloned().flatten());
        known.or_else(|| {
            let mut states = self.states();
            let all = states.as_mut()?;
            // SAFETY: `states` is locked and not `None`; the interpreter is ended only after it has become so.
            let state = Arc::new(unsafe { ThreadState::new(self.raw.0.as_ptr()) }?);
            all.push(Arc::clone(&state));
            drop(states);
            cache_thread_state(self.index, &state);
            Some(state)
        })
    }

    /// A state of the calling thread that is deleted when the value is dropped.
    pub(crate) fn temporary_thread_state(&self) -> Option<TemporaryThreadState<'_>> {
        let states = self.states();
        states.as_ref()?;
        // SAFETY: as in `thread_state`.
        let state = Arc::new(unsafe { ThreadState::new(self.raw.0.as_ptr()) }?);
        Some(TemporaryThreadState { state, interpreter: PhantomData, thread: PhantomData })
    }

    /// Deletes the calling thread's state, and with it what `threading.local` keeps. Not for the thread that made the
    /// interpreter, which `threading` waits for. Without effect while the thread is attached.
    pub(crate) fn release_thread_state(&self) {
        let own = THREAD_STATES.with_borrow(|states| states.get(self.index).cloned().flatten());
        let Some(own) = own.filter(|own| own.claim()) else { return };
        THREAD_STATES.with_borrow_mut(|states| states.get_mut(self.index).map(Option::take));
        if let Some(states) = self.states().as_mut() {
            states.retain(|state| !Arc::ptr_eq(state, &own));
        }
        // SAFETY: the calling thread's own state, claimed above.
        unsafe { own.delete_own() };
    }

    /// Deletes the states of all threads but the calling one; those in use stay. From now on no thread gets a new one.
    /// `attachment` is to this interpreter.
    pub(crate) fn release_other_thread_states(&self, attachment: &Attachment) {
        if attachment.interpreter() != self.raw.0.as_ptr() {
            return;
        }
        // The lock may be held by a thread that waits to be attached.
        let all = attachment.py().detached(|| self.states().take()).unwrap_or_default();
        for state in all {
            // The calling thread's own is in use by `attachment`.
            if state.claim() {
                // SAFETY: claimed; the attachment is to this interpreter, whose list had the state.
                unsafe { state.delete_other(attachment) };
            }
        }
    }

    /// Whether there are other thread states in this interpreter than that of `attachment`, which is to it.
    pub(crate) fn has_other_thread_states(&self, attachment: &Attachment) -> bool {
        // SAFETY: attached to the interpreter, so that it is not ended. Without a lock another thread's state may come
        // or go meanwhile; of those only the address is looked at. The one that is followed is the first, and only if
        // it is the calling thread's own, which is in use.
        unsafe {
            let head = ffi::PyInterpreterState_ThreadHead(self.raw.0.as_ptr());
            attachment.interpreter() != self.raw.0.as_ptr()
                || !attachment.is_by(head)
                || !ffi::PyThreadState_Next(head).is_null()
        }
    }

    /// The Python frame in which the thread of `state` is. `None` where it is in none, where its state has been
    /// deleted, and without a lock, because the thread would go on while it is looked at. `attachment` is to this
    /// interpreter.
    pub(crate) fn frame_of<'py>(
        &self,
        state: &Arc<ThreadState>,
        attachment: &'py Attachment,
    ) -> Option<Object<'py>> {
        if !attachment.is_exclusive() || attachment.interpreter() != self.raw.0.as_ptr() {
            return None;
        }
        let states = attachment.py().detached(|| self.states());
        if !states.as_ref()?.iter().any(|known| Arc::ptr_eq(known, state)) {
            return None;
        }
        // SAFETY: the state is in the list, which is locked, so it is not deleted before this returns; the attachment
        // holds the interpreter's lock, so its thread does not run. Null is a thread that is in no frame.
        unsafe {
            let frame = PyThreadState_GetFrame(state.as_ptr());
            if frame.is_null() {
                return None;
            }
            Object::from_owned(attachment.py(), frame).ok()
        }
    }

    /// Makes a new interpreter from the main one, which this is, and a thread that is not attached. `own_gil`: with a
    /// lock of its own, from Python 3.12 on. CPython then only lets in extension modules that say they are ready for
    /// it, and gives it neither `fork` nor daemon threads.
    pub(crate) fn new_sub_interpreter(&self, own_gil: bool) -> Option<Self> {
        let attachment = self.attach()?;
        let new = if own_gil { isolated(attachment) } else { shared(attachment) };
        new.map(Self::of)
    }

    /// Ends this sub-interpreter: `threading` shutdown, `atexit`, then all its objects (`Py_EndInterpreter`). `main` is
    /// the main interpreter. `false`, and nothing is done, where another thread has a state in it.
    pub(crate) fn end(&self, main: &Self) -> bool {
        let (Some(main), Some(own)) = (main.thread_state(), self.thread_state()) else {
            return false;
        };
        let Some(attachment) = self.attach() else { return false };
        self.release_other_thread_states(&attachment);
        if self.has_other_thread_states(&attachment) || !attachment.claim() {
            // The interpreter lives on, with what runs in it: threads that ask those for the lock need states.
            let _ =
                attachment.py().detached(|| self.states().get_or_insert_with(|| vec![own]).len());
            return false;
        }
        attachment.forget_claimed();
        // SAFETY: attached by the calling thread's own state, the last one of the interpreter, which CPython checks
        // itself; its right to be deleted was claimed. Up to 3.11 the function returns with the lock held and no state
        // current, so that another state of this thread has to take the lock over to give it back; from 3.12 on it
        // returns without the lock.
        unsafe {
            ffi::Py_EndInterpreter(own.as_ptr());
            if cfg!(not(Py_3_12)) {
                ffi::PyThreadState_Swap(main.as_ptr());
                ffi::PyEval_SaveThread();
            }
        }
        true
    }

    /// Finalises CPython: this main interpreter's `threading` shutdown, `atexit`, then its objects. For the thread that
    /// started it. `false`, and nothing is done, while another thread uses a state that this crate has made.
    pub(crate) fn finalize(&self) -> bool {
        let Some(attachment) = self.attach() else { return false };
        let all = attachment.py().detached(|| self.states().take()).unwrap_or_default();
        let own = |state: &Arc<ThreadState>| attachment.is_by(state.as_ptr());
        if !all.iter().filter(|state| !own(state)).all(|state| state.claim()) {
            return false;
        }
        if !attachment.claim() {
            return false;
        }
        attachment.forget_claimed();
        // SAFETY: attached to the main interpreter. The states of other threads are claimed, so that their threads do
        // not follow them when CPython has deleted them; threads that still wait for the lock never get it, which is
        // how CPython ends daemon threads. There is no lock to give back afterwards.
        unsafe { ffi::Py_FinalizeEx() };
        true
    }

    /// Forks this process by way of `fork`, which says by `Ok(None)` that it has come back in the child, with what
    /// CPython wants done before and after (`PyOS_BeforeFork`, `os.register_at_fork`). This is the main interpreter,
    /// and there is no other; the calling thread is the only one that goes on in the child.
    ///
    /// # Errors
    /// Those of `fork`, and `OutOfMemory` when the thread cannot be attached.
    pub(crate) fn fork<T>(&self, fork: Fork<T>) -> io::Result<Option<T>> {
        let attachment = self.attach().ok_or(io::ErrorKind::OutOfMemory)?;
        // Locked, so that it is not left so in the child by a thread that is not there.
        let mut states = attachment.py().detached(|| self.states());
        // SAFETY: attached to the main interpreter, as the three functions of CPython want. Between them only `fork`
        // runs, which touches no Python. The child goes on with this thread alone, as it does after `os.fork()`: CPython
        // and the C library put their own locks in order, and this thread holds the only lock of this crate that is
        // needed there. CPython deletes the states of the other threads, which are forgotten here as well.
        unsafe {
            ffi::PyOS_BeforeFork();
            let forked = fork();
            match &forked {
                Ok(None) => {
                    ffi::PyOS_AfterFork_Child();
                    if let Some(states) = states.as_mut() {
                        states.retain(|state| attachment.is_by(state.as_ptr()));
                        states.iter().for_each(|state| state.note_only());
                    }
                }
                Ok(Some(_)) | Err(_) => ffi::PyOS_AfterFork_Parent(),
            }
            drop(states);
            drop(attachment);
            forked
        }
    }

    fn states(&self) -> MutexGuard<'_, Option<Vec<Arc<ThreadState>>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread state that is deleted when this is dropped, by the thread that it was made for.
pub(crate) struct TemporaryThreadState<'a> {
    state: Arc<ThreadState>,
    interpreter: PhantomData<&'a InterpreterHandle>,
    /// It belongs to its thread.
    thread: PhantomData<*mut ()>,
}

impl TemporaryThreadState<'_> {
    /// Attaches the calling thread.
    pub(crate) fn attach(&self) -> Option<Attachment> {
        // SAFETY: made for the calling thread, and the value cannot be sent to another.
        unsafe { self.state.attach() }
    }
}

impl Drop for TemporaryThreadState<'_> {
    fn drop(&mut self) {
        if self.state.claim() {
            // SAFETY: made for the calling thread, and claimed.
            unsafe { self.state.delete_own() };
        }
    }
}

/// A new interpreter that shares the main one's lock (`Py_NewInterpreter`); its state is the calling thread's.
fn shared(main: Attachment) -> Option<ThreadState> {
    // SAFETY: attached to the main interpreter. On success the new state is current; it is detached by swapping the old
    // one back in, which shares the same lock and is in use by `main`.
    let new = unsafe {
        let new = NonNull::new(ffi::Py_NewInterpreter());
        #[cfg(not(Py_3_12))]
        if let Some(first) = new {
            super::thread_state_id::begin_apart(first);
        }
        ffi::PyThreadState_Swap(main.as_ptr());
        new
    };
    drop(main);
    new.map(ThreadState::own)
}

/// A new interpreter with a lock of its own; its state is the calling thread's.
#[cfg(Py_3_12)]
fn isolated(main: Attachment) -> Option<ThreadState> {
    let mut new = std::ptr::null_mut();
    // SAFETY: attached to the main interpreter. CPython reads the configuration and writes the new state. On success
    // the main interpreter's lock has been given back and the new one's is held; on failure the old state is current
    // again.
    let status =
        unsafe { ffi::Py_NewInterpreterFromConfig(&raw mut new, &ffi::_PyInterpreterConfig_INIT) };
    // SAFETY: CPython has just returned the status.
    if new.is_null() || unsafe { ffi::PyStatus_Exception(status) } != 0 {
        return None;
    }
    main.forget_detached();
    // SAFETY: attached by the new state, which nothing owns yet.
    unsafe { ThreadState::detach_current() }
}

/// There are none before Python 3.12.
#[cfg(not(Py_3_12))]
fn isolated(main: Attachment) -> Option<ThreadState> {
    shared(main)
}

fn cache_thread_state(index: usize, state: &Arc<ThreadState>) {
    THREAD_STATES.with_borrow_mut(|states| {
        if states.len() <= index {
            states.resize(index + 1, None);
        }
        if let Some(place) = states.get_mut(index) {
            *place = Some(Arc::clone(state));
        }
    });
}

unsafe extern "C" {
    /// In CPython since 3.9. The bindings have it with a type of their own for frames.
    fn PyThreadState_GetFrame(state: *mut ffi::PyThreadState) -> *mut ffi::PyObject;
}
