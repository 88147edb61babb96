//! Durations over many requests: count, mean, extremes, and mod_wsgi's 65 buckets
//! (reference section 6.6): quarters of powers of two of milliseconds.
#![forbid(unsafe_code)]

use std::time::Duration;

/// The durations of one phase of requests.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    pub(crate) buckets: [u32; BUCKETS],
    count: u32,
    total: Duration,
    least: Duration,
    most: Duration,
}

const BUCKETS: usize = 65;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            count: 0,
            total: Duration::ZERO,
            least: Duration::MAX,
            most: Duration::ZERO,
        }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration) {
        self.count += 1;
        self.total += time;
        self.least = self.least.min(time);
        self.most = self.most.max(time);
        if let Some(bucket) = self.buckets.get_mut(bucket(time)) {
            *bucket += 1;
        }
    }

    /// The mean in seconds; `None` when nothing was added.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total.as_secs_f64() / f64::from(self.count))
    }

    /// The least and the most in microseconds; `None` when nothing was added.
    pub(crate) fn extremes(&self) -> Option<(i64, i64)> {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        (self.count > 0).then(|| (micros(self.least), micros(self.most)))
    }
}

fn bucket(time: Duration) -> usize {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 1.0 {
        return 0;
    }
    if millis >= 65536.0 {
        return BUCKETS - 1;
    }
    // In range by the two tests above.
    let octave = millis.log2().floor().min(15.0);
    let quarter = (4.0 * (millis / octave.exp2() - 1.0)).floor().clamp(0.0, 3.0);
    (octave * 4.0 + quarter) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_octave_has_four_buckets() {
        let table = [
            (0, 0),
            (999, 0),
            (1_000, 0),
            (1_250, 1),
            (1_999, 3),
            (2_000, 4),
            (3_500, 7),
            (1_024_000, 40),
            (65_535_000, 63),
            (65_536_000, 64),
            (900_000_000, 64),
        ];
        for (micros, index) in table {
            assert_eq!(bucket(Duration::from_micros(micros)), index, "{micros}");
        }
    }

    #[test]
    fn nothing_has_no_mean() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.mean(), histogram.extremes()), (None, None));
        histogram.add(Duration::from_millis(1));
        histogram.add(Duration::from_millis(3));
        assert_eq!(histogram.mean(), Some(0.002));
        assert_eq!(histogram.extremes(), Some((1000, 3000)));
    }
}
