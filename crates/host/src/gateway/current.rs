//! Which request the calling thread serves, and what Python keeps of it while it does.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Persistent, Result};
use crate::gateway::lease::Lease;
use crate::observe::events::Subscribers;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

struct Current {
    lease: Arc<Lease>,
    environ: Option<Persistent>,
    /// `mod_wsgi.request_data()`, once it has been called.
    data: Option<Persistent>,
    /// Its key in `mod_wsgi.active_requests`.
    listed: Option<Persistent>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Finds the data of a request.
type FindData = for<'py> fn(Attached<'py>, &Subscribers) -> Result<'py, Option<Object<'py>>>;

/// What is found of the request that the running task belongs to, where an event loop serves requests.
pub(crate) struct TaskRequest {
    /// As [`data`].
    pub(crate) data: FindData,
    /// Its identifier in the log.
    pub(crate) id: for<'py> fn(Attached<'py>) -> Result<'py, Option<String>>,
}

static TASK_REQUEST: OnceLock<TaskRequest> = OnceLock::new();

/// Makes known how the request of a task is found. The first one stays.
pub(crate) fn set_task_request(find: TaskRequest) {
    let _ = TASK_REQUEST.set(find);
}

/// Makes a request the one this thread serves, until this is dropped; then it is again the request before, which
/// there is where an output filter makes a subrequest.
pub(crate) struct CurrentRequest<'a, 'py> {
    before: Option<Current>,
    subscribers: &'a Subscribers,
    py: Attached<'py>,
}

impl<'a, 'py> CurrentRequest<'a, 'py> {
    pub(crate) fn begin(
        py: Attached<'py>,
        lease: &Arc<Lease>,
        subscribers: &'a Subscribers,
    ) -> Self {
        let lease = Arc::clone(lease);
        let current = Current { lease, environ: None, data: None, listed: None };
        Self { before: CURRENT.replace(Some(current)), subscribers, py }
    }

    /// Keeps the complete environ.
    pub(crate) fn set_environ(&self, environ: &Object<'py>) -> Result<'py, ()> {
        let kept = Persistent::new(environ.clone());
        CURRENT.with_borrow_mut(|current| match current {
            Some(current) => current.environ = Some(kept),
            None => kept.clear(self.py),
        });
        if self.subscribers.active_requests.get().is_some() {
            data(self.py, self.subscribers)?;
        }
        Ok(())
    }
}

impl Drop for CurrentRequest<'_, '_> {
    fn drop(&mut self) {
        let py = self.py;
        let Some(current) = CURRENT.replace(self.before.take()) else { return };
        if let (Some(listed), Some(list)) =
            (&current.listed, self.subscribers.active_requests.get())
            && let Err(raised) = list.get(py).remove_item(&listed.get(py))
        {
            raised.clear();
        }
        for kept in [current.environ, current.data, current.listed].into_iter().flatten() {
            kept.clear(py);
        }
    }
}

/// The lease on the request this thread serves.
pub(crate) fn lease() -> Option<Arc<Lease>> {
    CURRENT.with_borrow(|current| current.as_ref().map(|current| Arc::clone(&current.lease)))
}

/// Forgets the request of this thread, which a signal handler has interrupted for good, perhaps while its lease was
/// locked. Lines of log go to the server from now on.
pub(crate) fn forget() {
    CURRENT.with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            std::mem::forget(current.take());
        }
    });
}

/// Whether this thread serves the request of `lease`.
pub(crate) fn is(lease: &Arc<Lease>) -> bool {
    CURRENT.with_borrow(|current| {
        current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.lease, lease))
    })
}

/// The environ of this thread's request, once it is complete.
pub(crate) fn environ(py: Attached<'_>) -> Option<Object<'_>> {
    CURRENT.with_borrow(|current| current.as_ref()?.environ.as_ref().map(|kept| kept.get(py)))
}

/// The identifier in the log of this thread's request, or of that of the running task; Python's `None` where there is
/// none.
pub(crate) fn request_id(py: Attached<'_>) -> Result<'_, Object<'_>> {
    let seen = CURRENT.with_borrow(|current| {
        current.as_ref().map(|current| current.environ.as_ref().map(|environ| environ.get(py)))
    });
    let id = match (seen, TASK_REQUEST.get()) {
        (Some(Some(environ)), _) => environ.item(&py.interned("mod_wsgi.request_id")?)?,
        (None, Some(task)) => (task.id)(py)?.map(|id| py.str(&id)).transpose()?,
        (Some(None), _) | (None, None) => None,
    };
    Ok(id.unwrap_or(py.none()))
}

/// The dict for an application's own data of this thread's request, or that of the running task; `None` where there is
/// none.
pub(crate) fn data<'py>(
    py: Attached<'py>,
    subscribers: &Subscribers,
) -> Result<'py, Option<Object<'py>>> {
    let seen = CURRENT.with_borrow(|current| {
        let current = current.as_ref()?;
        let get = |kept: &Option<Persistent>| kept.as_ref().map(|kept| kept.get(py));
        Some((get(&current.environ), get(&current.data), current.listed.is_some()))
    });
    let Some((environ, data, listed)) = seen else {
        return TASK_REQUEST.get().map_or(Ok(None), |task| (task.data)(py, subscribers));
    };
    // Nothing is borrowed while objects are made: a garbage collection could come back here.
    let data = match data {
        Some(data) => data,
        None => {
            let data = py.dict()?;
            keep(py, data.clone(), |current| &mut current.data);
            data
        }
    };
    if !listed
        && let (Some(list), Some(environ)) = (subscribers.active_requests.get(), environ)
        && let Some(id) = environ.item(&py.interned("mod_wsgi.request_id")?)?
    {
        list.get(py).set_item(&id, &data)?;
        keep(py, id, |current| &mut current.listed);
    }
    Ok(Some(data))
}

fn keep<'py>(
    py: Attached<'py>,
    object: Object<'py>,
    place: impl FnOnce(&mut Current) -> &mut Option<Persistent>,
) {
    let kept = Persistent::new(object);
    let unused = CURRENT.with_borrow_mut(|current| match current {
        Some(current) => place(current).replace(kept),
        None => Some(kept),
    });
    if let Some(unused) = unused {
        unused.clear(py);
    }
}
