//! The numbers of the fields (reference section 9.2).
#![forbid(unsafe_code)]

pub(super) const MOD_WSGI_VERSION: u16 = 1;
pub(super) const PYTHON_VERSION: u16 = 2;
pub(super) const APACHE_VERSION: u16 = 3;
pub(super) const MPM_NAME: u16 = 4;
pub(super) const HOSTNAME: u16 = 5;
pub(super) const PROCESS_GROUP: u16 = 6;
pub(super) const PARENT_PID: u16 = 7;
pub(super) const INTERPRETER_NAME: u16 = 8;

pub(super) const SAMPLE_PERIOD: u16 = 10;
pub(super) const INTERVAL: u16 = 11;
pub(super) const SLOW_REQUESTS: u16 = 12;
pub(super) const SWITCH_INTERVAL: u16 = 13;
pub(super) const REQUEST_COUNT: u16 = 20;
pub(super) const REQUEST_THROUGHPUT: u16 = 21;
pub(super) const CAPACITY_UTILIZATION: u16 = 22;
pub(super) const CPU_USER_UTILIZATION: u16 = 30;
pub(super) const CPU_SYSTEM_UTILIZATION: u16 = 31;
pub(super) const CPU_UTILIZATION: u16 = 32;
pub(super) const MEMORY_RSS: u16 = 40;
pub(super) const MEMORY_MAX_RSS: u16 = 41;
pub(super) const THREADS_MAXIMUM: u16 = 50;
pub(super) const THREADS_STARTED: u16 = 51;
pub(super) const THREADS_ACTIVE: u16 = 52;

/// The first of eight numbers, one for each of the phases; so are the next three.
pub(super) const PHASE_MEAN: u16 = 60;
pub(super) const PHASE_LEAST: u16 = 70;
pub(super) const PHASE_MOST: u16 = 80;
pub(super) const PHASE_BUCKETS: u16 = 90;

pub(super) const INPUT_BYTES: u16 = 100;
pub(super) const INPUT_READS: u16 = 101;
pub(super) const OUTPUT_BYTES: u16 = 102;
pub(super) const OUTPUT_WRITES: u16 = 103;
pub(super) const SLOT_COMPLETED: u16 = 110;
pub(super) const SLOT_BUSY: u16 = 111;
pub(super) const SLOT_CPU: u16 = 112;
pub(super) const SLOT_CURRENT: u16 = 113;
pub(super) const SLOT_LONGEST: u16 = 114;
/// The first of five, `1xx` to `5xx`.
pub(super) const STATUS_CLASS: u16 = 120;

pub(super) const SHUTDOWN_REASON: u16 = 130;
pub(super) const UPTIME: u16 = 131;
pub(super) const LIFETIME_REQUESTS: u16 = 132;
pub(super) const ACTIVE_AT_DECISION: u16 = 133;
pub(super) const ACTIVE_AT_EXIT: u16 = 134;
pub(super) const GRACEFUL_DRAIN: u16 = 135;

pub(super) const SLOW_STATE: u16 = 200;
pub(super) const SLOW_START: u16 = 201;
pub(super) const SLOW_DURATION: u16 = 202;
pub(super) const SLOW_THREAD: u16 = 203;
pub(super) const SLOW_LOG_ID: u16 = 204;
pub(super) const SLOW_SERVER_PID: u16 = 205;
pub(super) const SLOW_METHOD: u16 = 210;
pub(super) const SLOW_SCHEME: u16 = 211;
pub(super) const SLOW_HOSTNAME: u16 = 212;
pub(super) const SLOW_SCRIPT_NAME: u16 = 213;
pub(super) const SLOW_PATH_INFO: u16 = 214;
pub(super) const SLOW_PROTOCOL: u16 = 215;
pub(super) const SLOW_PEER: u16 = 216;
pub(super) const SLOW_USER_AGENT: u16 = 217;
pub(super) const SLOW_SERVER_TIME: u16 = 220;
pub(super) const SLOW_QUEUE_TIME: u16 = 221;
pub(super) const SLOW_DAEMON_TIME: u16 = 222;
pub(super) const SLOW_APPLICATION_TIME: u16 = 223;
pub(super) const SLOW_GIL_TIME: u16 = 224;
pub(super) const SLOW_GIL_COUNT: u16 = 225;
pub(super) const SLOW_INPUT_BYTES: u16 = 230;
pub(super) const SLOW_INPUT_READS: u16 = 231;
pub(super) const SLOW_OUTPUT_BYTES: u16 = 232;
pub(super) const SLOW_OUTPUT_WRITES: u16 = 233;
pub(super) const SLOW_INPUT_TIME: u16 = 234;
pub(super) const SLOW_OUTPUT_TIME: u16 = 235;
pub(super) const SLOW_STATUS: u16 = 240;
pub(super) const SLOW_CPU_USER: u16 = 250;
pub(super) const SLOW_CPU_SYSTEM: u16 = 251;
pub(super) const SLOW_ACTIVE_AT_START: u16 = 260;
pub(super) const SLOW_ACTIVE_AT_END: u16 = 261;

/// The first of three numbers, by generation; so are the next four.
pub(super) const GC_COUNT: u16 = 300;
pub(super) const GC_THRESHOLD: u16 = 303;
pub(super) const GC_COLLECTIONS: u16 = 306;
pub(super) const GC_COLLECTED: u16 = 309;
pub(super) const GC_UNCOLLECTABLE: u16 = 312;
pub(super) const GC_IS_ENABLED: u16 = 315;
pub(super) const GC_FROZEN: u16 = 316;
pub(super) const GC_DROPPED: u16 = 317;
pub(super) const COLLECTION_START: u16 = 320;
pub(super) const COLLECTION_DURATION: u16 = 321;
pub(super) const COLLECTION_GENERATION: u16 = 322;
pub(super) const COLLECTION_COLLECTED: u16 = 323;
pub(super) const COLLECTION_UNCOLLECTABLE: u16 = 324;
