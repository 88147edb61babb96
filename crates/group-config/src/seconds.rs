//! Times in JSON: seconds, as a number that may have a fraction.
//!
//! For use as `#[serde(with = "seconds")]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A time, or one that may be unset.
pub(crate) trait Seconds: Sized {
    fn to_seconds(&self) -> Option<f64>;

    /// `None` where that is no time: negative, or beyond all measure.
    fn from_seconds(seconds: Option<f64>) -> Option<Self>;
}

impl Seconds for Duration {
    fn to_seconds(&self) -> Option<f64> {
        Some(self.as_secs_f64())
    }

    fn from_seconds(seconds: Option<f64>) -> Option<Self> {
        Self::try_from_secs_f64(seconds?).ok()
    }
}

impl Seconds for Option<Duration> {
    fn to_seconds(&self) -> Option<f64> {
        self.as_ref().and_then(Duration::to_seconds)
    }

    fn from_seconds(seconds: Option<f64>) -> Option<Self> {
        match seconds {
            None => Some(None),
            seconds => Duration::from_seconds(seconds).map(Some),
        }
    }
}

pub(crate) fn serialize<T: Seconds, S: Serializer>(time: &T, to: S) -> Result<S::Ok, S::Error> {
    time.to_seconds().serialize(to)
}

pub(crate) fn deserialize<'de, T: Seconds, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let seconds = Option::<f64>::deserialize(from)?;
    T::from_seconds(seconds).ok_or_else(|| D::Error::custom("this is no number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Times {
        #[serde(with = "super")]
        always: Duration,
        #[serde(with = "super")]
        perhaps: Option<Duration>,
    }

    #[test]
    fn times_are_seconds_and_may_have_a_fraction() {
        let times = Times { always: Duration::from_millis(1500), perhaps: None };
        let text = r#"{"always":1.5,"perhaps":null}"#;
        assert_eq!(serde_json::to_string(&times).unwrap(), text);
        assert_eq!(serde_json::from_str::<Times>(text).unwrap(), times);
        let whole = serde_json::from_str::<Times>(r#"{"always":0,"perhaps":2}"#).unwrap();
        assert_eq!(whole.perhaps, Some(Duration::from_secs(2)));
        for wrong in [r#"{"always":-1,"perhaps":null}"#, r#"{"always":null,"perhaps":null}"#] {
            assert!(serde_json::from_str::<Times>(wrong).is_err(), "{wrong}");
        }
    }
}
