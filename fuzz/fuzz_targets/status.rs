//! Fuzz target: any bytes as the query of a request for the status, and as texts of requests on its pages.
//! It must never know more than the two files of the module that read and write them, which know nothing of httpd.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/status/escaped.rs"]
mod escaped;
#[path = "../../src/status/query.rs"]
#[allow(dead_code, reason = "what is asked for is not answered here")]
mod query;

fuzz_target!(|data: &[u8]| {
    let asked = query::asked(data);
    // Each byte of the query becomes one character at most, which may take three bytes.
    let name = asked.group.unwrap_or_default();
    assert!(name.len() <= 3 * data.len());
    for text in [&name, &*String::from_utf8_lossy(data)] {
        let element = escaped::Escaped(text).to_string();
        assert!(!element.contains(|sign: char| "<>\"'".contains(sign) || sign.is_control()));
        let value = scoreboard::Label(text).to_string();
        assert!(!value.contains(['\n', '\r']));
        // A quote that ends the value would have an even number of backslashes before it.
        for (at, _) in value.match_indices('"') {
            let before = value[..at].len() - value[..at].trim_end_matches('\\').len();
            assert_eq!(before % 2, 1, "{value}");
        }
    }
});
