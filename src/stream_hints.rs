//! What in httpd's own limits cuts event streams short, or has them hold threads, for configtest to say. It must never know
//! a request.
#![forbid(unsafe_code)]

use wsgi::Level;

/// Lines of the event MPM, as far as streams that hold no thread depend on them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamLimits {
    /// How many streams of a child may have no thread.
    pub(crate) streams: usize,
    /// `ThreadsPerChild`.
    pub(crate) threads: usize,
    /// `FlushMaxThreshold` or `FlushMaxPipelined` has httpd wait for clients sooner than a thread for all streams could.
    pub(crate) waits_early: bool,
    /// `MaxRequestWorkers`.
    pub(crate) workers: usize,
    /// `MaxSpareThreads`.
    pub(crate) spare_threads: usize,
    /// `MaxConnectionsPerChild`; 0 is no limit.
    pub(crate) connections: usize,
}

/// One sentence for each limit, and how important it is.
pub(crate) fn stream_hints(limits: &StreamLimits) -> Vec<(Level, String)> {
    let mut hints = Vec::new();
    if limits.connections != 0 {
        let line = format!(
            "MaxConnectionsPerChild {} ends each process of Apache after so many connections, and event streams \
             with it; 0 lets them be",
            limits.connections
        );
        hints.push((Level::Warning, line));
    }
    if limits.spare_threads < limits.workers {
        let line = format!(
            "MaxSpareThreads {} has processes of Apache ended that have idle threads, and event streams with them; \
             {} (MaxRequestWorkers) lets them be",
            limits.spare_threads, limits.workers
        );
        hints.push((Level::Info, line));
    }
    if limits.waits_early {
        let line = "FlushMaxThreshold below 65535, or FlushMaxPipelined 0, has each event stream hold a thread of Apache";
        hints.push((Level::Warning, line.to_owned()));
    } else if limits.streams < 4 * limits.threads {
        let line = format!(
            "each process of Apache keeps up to {} event streams without a thread; AsyncRequestWorkerFactor, and the \
             number of files that it may have open, permit more",
            limits.streams
        );
        hints.push((Level::Info, line));
    }
    hints
}

/// Why `H2WebSockets On` (mod_http2) keeps pages from opening WebSockets of ASGI: browsers that are offered it do not try
/// HTTP/1.1 after a refusal.
pub(crate) const WEBSOCKETS_OVER_HTTP_2: &str = "H2WebSockets On has browsers open WebSockets over HTTP/2, where each is refused (WSGI0230, 501); \
     without this line they open them over HTTP/1.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_leave_streams_alone_are_not_mentioned() {
        let limits = StreamLimits {
            streams: 1000,
            threads: 64,
            waits_early: false,
            workers: 384,
            spare_threads: 384,
            connections: 0,
        };
        assert_eq!(stream_hints(&limits), []);
        let few = StreamLimits { streams: 25, threads: 25, ..limits.clone() };
        assert!(
            matches!(&stream_hints(&few)[..], [(Level::Info, line)] if line.contains(" 25 event"))
        );
        let early = StreamLimits { waits_early: true, ..few };
        let hints = stream_hints(&early);
        assert!(matches!(&hints[..], [(Level::Warning, line)] if line.contains("hold a thread")));
        let spare = StreamLimits { spare_threads: 75, ..limits.clone() };
        let hints = stream_hints(&spare);
        assert!(matches!(&hints[..], [(Level::Info, line)] if line.contains("MaxSpareThreads 75")));
        let ends = StreamLimits { connections: 500, ..limits };
        let hints = stream_hints(&ends);
        assert!(matches!(&hints[..], [(Level::Warning, line)] if line.contains("Child 500 ends")));
    }
}
