//! httpd's scoreboard: which of its processes and threads do what. Other processes write it without a
//! lock, so what is read here is a picture that may be blurred, and never more than a picture.

use crate::bindings::{
    ap_copy_scoreboard_worker, ap_exists_scoreboard_image, ap_get_scoreboard_global,
    ap_get_scoreboard_process, worker_score,
};
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

/// The scoreboard of this server, in a child process.
pub(crate) struct Scoreboard {
    pub(crate) server_limit: i64,
    pub(crate) thread_limit: i64,
    pub(crate) generation: i64,
    /// Microseconds since the epoch, like all times here.
    pub(crate) restart_time: i64,
    pub(crate) processes: Vec<ProcessScore>,
}

/// One child process, or the place of one.
pub(crate) struct ProcessScore {
    pub(crate) pid: i64,
    pub(crate) generation: i64,
    pub(crate) quiescing: bool,
    pub(crate) workers: Vec<WorkerScore>,
}

/// One thread, or the place of one.
pub(crate) struct WorkerScore {
    pub(crate) generation: i64,
    /// As on mod_status' page.
    pub(crate) status: u8,
    pub(crate) access_count: i64,
    pub(crate) bytes_served: i64,
    pub(crate) start_time: i64,
    pub(crate) stop_time: i64,
    pub(crate) last_used: i64,
    pub(crate) client: Vec<u8>,
    pub(crate) request: Vec<u8>,
    pub(crate) vhost: Vec<u8>,
}

/// By `SERVER_DEAD` to `SERVER_IDLE_KILL`.
const STATES: &[u8; 11] = b".S_RWKLDCGI";

impl Scoreboard {
    /// `None` where the MPM keeps none.
    pub(crate) fn read() -> Option<Self> {
        // SAFETY: without an image there are no records; with one its global record lives as long as
        // the process.
        let global = unsafe {
            if ap_exists_scoreboard_image() == 0 {
                return None;
            }
            ap_get_scoreboard_global().as_ref()?
        };
        let processes =
            (0..global.server_limit).filter_map(|index| process(index, global.thread_limit));
        Some(Self {
            server_limit: global.server_limit.into(),
            thread_limit: global.thread_limit.into(),
            generation: global.running_generation.into(),
            restart_time: global.restart_time,
            processes: processes.collect(),
        })
    }
}

fn process(index: c_int, threads: c_int) -> Option<ProcessScore> {
    // SAFETY: the index is below the limit; numbers are copied out of memory that others write.
    let (pid, generation, quiescing) = unsafe {
        let raw = ap_get_scoreboard_process(index);
        if raw.is_null() {
            return None;
        }
        (
            (&raw const (*raw).pid).read_volatile(),
            (&raw const (*raw).generation).read_volatile(),
            (&raw const (*raw).quiescing).read_volatile(),
        )
    };
    Some(ProcessScore {
        pid: pid.into(),
        generation: generation.into(),
        quiescing: quiescing != 0,
        workers: (0..threads).map(|thread| worker(index, thread)).collect(),
    })
}

fn worker(process: c_int, thread: c_int) -> WorkerScore {
    let mut copy = MaybeUninit::<worker_score>::zeroed();
    // SAFETY: both indices are below their limits; httpd copies the record. All zeros is a valid one.
    let copy = unsafe {
        ap_copy_scoreboard_worker(copy.as_mut_ptr(), process, thread);
        copy.assume_init()
    };
    WorkerScore {
        generation: copy.generation.into(),
        status: STATES.get(usize::from(copy.status)).copied().unwrap_or(b'?'),
        access_count: i64::try_from(copy.access_count).unwrap_or(i64::MAX),
        bytes_served: copy.bytes_served,
        start_time: copy.start_time,
        stop_time: copy.stop_time,
        last_used: copy.last_used,
        client: text(&copy.client),
        request: text(&copy.request),
        vhost: text(&copy.vhost),
    }
}

/// Up to the NUL, which may have been missed.
fn text(bytes: &[c_char]) -> Vec<u8> {
    bytes.iter().map(|&byte| byte.cast_unsigned()).take_while(|&byte| byte != 0).collect()
}
