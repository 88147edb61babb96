//! What the command line of httpd asks for. It must never know a configuration.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The options of httpd that take a value, in the same word or in the next.
const WITH_VALUE: &[u8] = b"CDEcdefk";

/// Whether the process was started to stop a server (`-k stop`, `-k graceful-stop`): it reads the configuration for the
/// place of the file with the process id only.
pub(crate) fn is_stop(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let mut arguments = arguments.into_iter().skip(1);
    while let Some(word) = arguments.next() {
        let Some(letters) = word.as_bytes().strip_prefix(b"-") else { return false };
        let Some(at) = letters.iter().position(|letter| WITH_VALUE.contains(letter)) else {
            continue;
        };
        let (option, rest) = (letters.get(at), letters.get(at + 1..).unwrap_or_default());
        let next = if rest.is_empty() { arguments.next() } else { None };
        let value = next.as_ref().map_or(rest, |next| next.as_bytes());
        if option == Some(&b'k') && [&b"stop"[..], b"graceful-stop"].contains(&value) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_stop;

    #[test]
    fn stop_is_known_wherever_it_stands_and_nothing_else_is_taken_for_it() {
        let asks = |words: &str| is_stop(words.split(' ').map(Into::into));
        for words in [
            "httpd -k stop",
            "httpd -kstop",
            "httpd -d /srv -f /srv/httpd.conf -k graceful-stop",
            "httpd -DFOREGROUND -k stop",
            "httpd -Xk stop",
        ] {
            assert!(asks(words), "{words}");
        }
        for words in
            ["httpd", "httpd -k start", "httpd -k graceful", "httpd -t", "httpd -D k -d stop"]
        {
            assert!(!asks(words), "{words}");
        }
    }
}
