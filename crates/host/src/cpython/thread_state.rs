//! Thread states: one for each thread in each interpreter, attached by its own thread only.
//!
//! Nothing outside of `cpython` attaches, clears or deletes a [`ThreadState`]; `interpreter` keeps them and decides
//! which one a thread uses.

use super::Attached;
#[cfg(not(Py_3_12))]
use super::{gil_state, thread_state_id};
use pyo3_ffi as ffi;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether interpreters can have locks of their own.
pub(crate) const HAS_OWN_GIL: bool = cfg!(Py_3_12);
/// Whether this Python is built to run without its lock.
pub(crate) const FREE_THREADED: bool = cfg!(Py_GIL_DISABLED);

/// A thread state that this crate has made. It may outlive what CPython keeps behind it: `uses` tells.
pub(crate) struct ThreadState {
    raw: NonNull<ffi::PyThreadState>,
    /// How many attachments its thread has, those inside of [`Attached::detached`] included; [`DELETED`] once the
    /// right to delete it has been taken.
    uses: AtomicU32,
}

/// In [`ThreadState::uses`]: CPython's thread state is deleted or about to be.
const DELETED: u32 = 1 << 31;

// SAFETY: what follows the pointer are the functions of this file. Those of the state's own thread take part in `uses`;
// those of another thread first make `uses` `DELETED`, after which the own thread does not follow it any more.
unsafe impl Send for ThreadState {}
// SAFETY: as for `Send`: `uses` is atomic and `raw` never changes.
unsafe impl Sync for ThreadState {}

impl ThreadState {
    /// A new state of the calling thread in an interpreter. `None` when memory is exhausted.
    ///
    /// # Safety
    /// The interpreter has not been ended, and is not until this returns.
    pub(super) unsafe fn new(interpreter: *mut ffi::PyInterpreterState) -> Option<Self> {
        // SAFETY: the interpreter exists, as the caller promises; CPython takes its own lock for the list of states.
        NonNull::new(unsafe { ffi::PyThreadState_New(interpreter) }).map(Self::own)
    }

    /// The state that is current, detached from the thread. For use right after CPython itself has made one
    /// (`Py_InitializeFromConfig`, `Py_NewInterpreter`).
    ///
    /// # Safety
    /// This thread is attached by a state that has no other owner.
    pub(super) unsafe fn detach_current() -> Option<Self> {
        // SAFETY: attached, as the caller promises; the state that is returned has no other owner.
        NonNull::new(unsafe { ffi::PyEval_SaveThread() }).map(Self::own)
    }

    /// A state that has just been made, and that nothing else deletes.
    pub(super) fn own(raw: NonNull<ffi::PyThreadState>) -> Self {
        #[cfg(not(Py_3_12))]
        thread_state_id::make_unique(raw);
        Self { raw, uses: AtomicU32::new(0) }
    }

    /// Notes that this is the only state of the process, in the thread that has just started Python or been forked.
    pub(super) fn note_only(&self) {
        #[cfg(not(Py_3_12))]
        gil_state::find_key(self.raw);
    }

    /// Attaches the calling thread, and blocks until the interpreter's lock is free. `None` once the state has been
    /// deleted.
    ///
    /// # Safety
    /// The calling thread is the one that the state was made for.
    pub(super) unsafe fn attach(self: &Arc<Self>) -> Option<Attachment> {
        if self.uses.fetch_add(1, Ordering::Acquire) & DELETED != 0 {
            self.uses.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        // SAFETY: its own thread, by the caller's promise; `uses` keeps every other thread from deleting the state
        // until the attachment is dropped.
        super::gil_wait::timed(|| unsafe { ffi::PyEval_RestoreThread(self.raw.as_ptr()) });
        #[cfg(not(Py_3_12))]
        gil_state::store(self.raw);
        Some(Attachment { state: Arc::clone(self), thread: PhantomData })
    }

    /// Whether the calling thread is attached by this state, which must be its own: the answer about another thread is
    /// old when it comes.
    pub(super) fn is_attached(&self) -> bool {
        // SAFETY: only reads which state is current, if any; it is compared and not followed.
        unsafe { ffi::compat::PyThreadState_GetUnchecked() == self.raw.as_ptr() }
    }

    /// Takes the right to delete the state, unless it is in use, or the right has been taken.
    #[must_use]
    pub(super) fn claim(&self) -> bool {
        self.uses.compare_exchange(0, DELETED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Clears and deletes the state of another thread of the interpreter that `attachment` is to.
    ///
    /// # Safety
    /// [`ThreadState::claim`] gave the caller the right, and `attachment` is to the interpreter of this state.
    pub(super) unsafe fn delete_other(&self, attachment: &Attachment) {
        // SAFETY: clearing wants an attachment to the interpreter, which the caller has. The state's own thread is not
        // attached by it and never will be again, as the claim succeeded.
        unsafe { ffi::PyThreadState_Clear(self.raw.as_ptr()) };
        // From 3.12 on deleting a state makes the calling thread forget which one it has itself, and its next
        // `PyGILState_Ensure` would wait for the lock that it holds. A thread that has none can forget nothing. That
        // thread is waited for detached: deleting may have to wait until a thread that is just making a state has
        // stopped all others, where there is no lock.
        attachment.py().detached(|| {
            // SAFETY: cleared above, by the only caller that has the right; deleting needs no lock of the interpreter.
            let delete = || unsafe { ffi::PyThreadState_Delete(self.raw.as_ptr()) };
            std::thread::scope(|scope| {
                if std::thread::Builder::new().spawn_scoped(scope, delete).is_err() {
                    delete();
                }
            });
        });
    }

    /// Attaches the calling thread once more and deletes its state.
    ///
    /// # Safety
    /// The calling thread is the one that the state was made for, and [`ThreadState::claim`] gave it the right.
    pub(super) unsafe fn delete_own(&self) {
        // SAFETY: after the first call the thread is attached by this state, as the other two want; the last one gives
        // the lock back. The claim keeps other threads from following the pointer.
        unsafe {
            ffi::PyEval_RestoreThread(self.raw.as_ptr());
            ffi::PyThreadState_Clear(self.raw.as_ptr());
            ffi::PyThreadState_DeleteCurrent();
        }
    }

    /// CPython's thread state. It may be followed as long as the state cannot be deleted.
    pub(super) const fn as_ptr(&self) -> *mut ffi::PyThreadState {
        self.raw.as_ptr()
    }
}

/// An attachment: until it is dropped this thread may run Python code in the interpreter, and where that
/// has a lock, this thread holds it.
pub(crate) struct Attachment {
    state: Arc<ThreadState>,
    /// It belongs to its thread.
    thread: PhantomData<*mut ()>,
}

impl Attachment {
    /// Whether there is a lock, so that no other thread runs in the interpreter meanwhile.
    pub(crate) fn is_exclusive(&self) -> bool {
        if !FREE_THREADED {
            return true;
        }
        let enabled =
            self.py().import(c"sys").and_then(|sys| sys.call_method(c"_is_gil_enabled", []));
        enabled.and_then(|enabled| enabled.is_true()).unwrap_or_else(|raised| {
            raised.clear();
            false
        })
    }

    /// The token that proves it.
    pub(crate) const fn py(&self) -> Attached<'_> {
        // SAFETY: the thread state was attached when `self` was made and stays so until `self` is dropped.
        unsafe { Attached::assume() }
    }

    /// The interpreter that this thread is attached to.
    pub(super) fn interpreter(&self) -> *mut ffi::PyInterpreterState {
        // SAFETY: the state is in use by `self`, so it is not deleted; a state has an interpreter from first to last.
        unsafe { ffi::PyThreadState_GetInterpreter(self.state.as_ptr()) }
    }

    /// Whether the thread is attached by this state.
    pub(super) fn is_by(&self, state: *mut ffi::PyThreadState) -> bool {
        self.as_ptr() == state
    }

    /// The state by which the thread is attached.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyThreadState {
        self.state.as_ptr()
    }

    /// Takes the right to delete the state, if this is its only attachment.
    #[must_use]
    pub(super) fn claim(&self) -> bool {
        let uses = &self.state.uses;
        uses.compare_exchange(1, DELETED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Ends the attachment without detaching, after [`Attachment::claim`]: CPython detaches when it deletes the state.
    pub(super) fn forget_claimed(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not used again, and its own `drop`, which would detach, never runs.
        unsafe { std::ptr::drop_in_place(&raw mut this.state) };
    }

    /// Ends the attachment where CPython has detached the thread itself.
    #[cfg(Py_3_12)]
    pub(super) fn forget_detached(self) {
        self.state.uses.fetch_sub(1, Ordering::Release);
        self.forget_claimed();
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: this thread is attached by `state`, which keeps the pointer that is returned.
        unsafe { ffi::PyEval_SaveThread() };
        self.state.uses.fetch_sub(1, Ordering::Release);
    }
}
