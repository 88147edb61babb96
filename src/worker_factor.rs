//! `AsyncRequestWorkerFactor` as the event MPM reads it. It must never know what is made of it.
#![forbid(unsafe_code)]

/// The MPM's own value.
const DEFAULT: f64 = 2.0;
/// The MPM takes anything below for this.
const LEAST: f64 = 1.0;

/// The factor that the arguments of the directive name; `None`: there is no such line. The MPM reads them with `atof`: quotes
/// are not part of them, hexadecimal digits are a number as well, and what follows the number does not count.
pub(crate) fn worker_factor(arguments: Option<&[u8]>) -> f64 {
    let Some(text) = arguments else { return DEFAULT };
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\''));
    number(text).unwrap_or(0.0).max(LEAST)
}

/// The number that a text begins with.
fn number(text: &str) -> Option<f64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        return u32::from_str_radix(digits.get(..end)?, 16).ok().map(f64::from);
    }
    let ends = (1..=text.len()).rev().filter_map(|end| text.get(..end));
    ends.filter_map(|prefix| prefix.parse().ok()).find(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_is_what_the_mpm_reads() {
        let of = |text: &[u8]| worker_factor(Some(text));
        assert_eq!(worker_factor(None), 2.0);
        assert_eq!(of(b"32"), 32.0);
        assert_eq!(of(b"\"32\""), 32.0);
        assert_eq!(of(b"'2.5' "), 2.5);
        assert_eq!(of(b"0x20"), 32.0);
        assert_eq!(of(b"3 connections"), 3.0);
        assert_eq!(of(b"0.5"), 1.0);
        assert_eq!(of(b"many"), 1.0);
    }
}
