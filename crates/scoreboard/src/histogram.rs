//! A histogram of durations with fixed buckets, as it was read, and what follows from its counts. It must never know what
//! takes so long.
#![forbid(unsafe_code)]

/// The upper bounds of a histogram's buckets, in microseconds; what is longer is in one more.
pub(crate) const BOUNDS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// A histogram as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Values in each bucket, not those in the ones before.
    pub buckets: [u64; BUCKETS],
    /// Of all values, in microseconds.
    pub sum: u64,
}

/// The value below which a part of all values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    /// About this, in microseconds: between the bounds of its bucket.
    Within(u64),
    /// More than the last bound, which is this, in microseconds.
    Above(u64),
}

impl Percentile {
    /// In microseconds; `None` where the value is beyond the last bound.
    pub const fn value(self) -> Option<u64> {
        match self {
            Self::Within(value) => Some(value),
            Self::Above(_) => None,
        }
    }

    /// In microseconds; the last bound where the value is beyond that.
    pub const fn bound(self) -> u64 {
        match self {
            Self::Within(value) | Self::Above(value) => value,
        }
    }
}

impl Histogram {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket))
    }

    /// The upper bound of each bucket with the number of values up to it; `None`: no bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        bounds.zip(self.buckets.iter()).scan(0_u64, |sum, (bound, bucket)| {
            *sum = sum.wrapping_add(*bucket);
            Some((bound, *sum))
        })
    }

    /// Values beyond the last bound, and that bound in microseconds.
    pub fn above(&self) -> (u64, u64) {
        let [.., last] = BOUNDS;
        let [.., above] = self.buckets;
        (above, last)
    }

    /// What has come since this histogram was read; never less than nothing.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut since = Self { buckets: self.buckets, sum: self.sum.saturating_sub(before.sum) };
        let less = |(to, from): (&mut u64, &u64)| *to = to.saturating_sub(*from);
        since.buckets.iter_mut().zip(&before.buckets).for_each(less);
        since
    }

    /// The value below which `percent` of all are; `None` where there is none.
    pub fn percentile(&self, percent: u64) -> Option<Percentile> {
        percentile(&BOUNDS, &self.buckets, percent)
    }
}

/// The same for buckets with other upper bounds, and one more without.
pub fn percentile(bounds: &[u64], buckets: &[u64], percent: u64) -> Option<Percentile> {
    let count = buckets.iter().copied().fold(0, u64::saturating_add);
    let rank = count.saturating_mul(percent).div_ceil(100).max(1);
    let (mut below, mut lower) = (0_u64, 0);
    for (bound, bucket) in bounds.iter().zip(buckets) {
        if below.saturating_add(*bucket) >= rank && *bucket > 0 {
            let part = bound.saturating_sub(lower).saturating_mul(rank.saturating_sub(below));
            return Some(Percentile::Within(lower.saturating_add(part / bucket)));
        }
        (below, lower) = (below.saturating_add(*bucket), *bound);
    }
    (count > 0).then_some(Percentile::Above(lower))
}

/// The bucket of a duration in microseconds.
pub(crate) fn bucket(time: u64) -> usize {
    BOUNDS.iter().position(|bound| time <= *bound).unwrap_or(BOUNDS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_their_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        histogram.buckets[2] = 90;
        histogram.buckets[15] = 10;
        let half = histogram.percentile(50).and_then(Percentile::value).unwrap();
        assert!(half > 1_000 && half <= 2_500, "{half}");
        assert_eq!(histogram.percentile(90), Some(Percentile::Within(2_500)));
        assert_eq!(histogram.percentile(99), Some(Percentile::Above(30_000_000)));
        assert_eq!(histogram.above(), (10, 30_000_000));
    }
}
