//! The numbers that a worker's record has, and the states of a worker. It must never know where they lie.
#![forbid(unsafe_code)]

/// The words of a record that are numbers.
#[derive(Clone, Copy)]
pub enum Field {
    /// The worker's process id.
    Pid = 0,
    /// A [`State`].
    State = 1,
    /// How many workers the slot had before; of a child of Apache: the number of its configuration.
    Generation = 2,
    /// Not 0 where the worker ends itself because of a limit on time.
    TimeLimit = 3,
    /// Requests served so far.
    Served = 4,
    /// Resident memory in bytes, where the worker measures it.
    Resident = 5,
    /// When the process started.
    Started = 6,
    /// When something was last done for a request: its beginning, or its end.
    LastRequest = 7,
    /// How it ended, as wait(2) has it.
    LastExit = 8,
    /// The slot.
    Slot = 9,
    /// When its end was noticed; 0 while it lives.
    Ended = 10,
    /// How many workers of the slot in a row, this one included, died before they were ready.
    Failures = 11,
    /// The scripts that it has loaded: a bit for each by its number, which several may share.
    Scripts = 12,
    /// Where an application has not started in it, which it says before it exits: the number of the error code that
    /// tells why, else 0.
    Unstarted = 13,
    /// Requests that it has under way at once, where the configuration does not say; 0: as that says.
    Capacity = 14,
    /// Not 0 where the kernel has killed it for want of memory, as far as is known.
    OutOfMemory = 15,
    /// WebSockets that it has open.
    Sockets = 16,
    /// Functions that the executor of its event loop has been given and that are not over.
    Functions = 17,
    /// The same of asgiref's executor of one thread.
    ThreadSensitiveFunctions = 18,
    /// Requests that it serves beyond those for which its record has room.
    Unlisted = 19,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The record has no worker.
    Gone = 0,
    /// The worker imports the application.
    Starting = 1,
    /// The worker serves requests.
    Ready = 2,
    /// The worker takes no new requests.
    Leaving = 3,
}
