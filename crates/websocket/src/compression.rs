//! What a client offers about compression and what a server accepts (RFC 7692, section 7.1). It never knows a frame.

use std::fmt;

/// What was agreed on: permessage-deflate, without context takeover on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The binary logarithm of the server's window, where the client has asked for one.
    server_window: Option<u8>,
}

/// The extension.
const NAME: &[u8] = b"permessage-deflate";

impl Compression {
    /// What a server answers to the value of `Sec-WebSocket-Extensions` (several fields with a comma between them): it
    /// accepts the first offer that it can keep to. `None`: there is none, and nothing is compressed.
    #[must_use]
    pub fn of_offers(offers: &[u8]) -> Option<Self> {
        let mut scanner = Scanner { rest: offers };
        while let Some(offer) = scanner.offer() {
            if let Some(accepted) = offer {
                return Some(accepted);
            }
        }
        None
    }

    /// The most bytes of a message that is compressed: no more than the server's window holds, so that nothing in it refers
    /// to what is outside of the window, whatever the codec's own is.
    pub(crate) fn longest(self) -> usize {
        self.server_window.map_or(usize::MAX, |bits| 1 << bits)
    }
}

/// The value of `Sec-WebSocket-Extensions` in the response.
impl fmt::Display for Compression {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        match self.server_window {
            Some(bits) => write!(to, "; server_max_window_bits={bits}"),
            None => Ok(()),
        }
    }
}

/// Parameters of one offer, as far as they have been read.
#[derive(Default)]
struct Parameters<'a> {
    names: Vec<&'a [u8]>,
    server_window: Option<u8>,
}

impl<'a> Parameters<'a> {
    /// Whether the offer can be accepted with this parameter.
    fn add(&mut self, name: &'a [u8], value: Option<&[u8]>) -> bool {
        if self.names.contains(&name) {
            return false;
        }
        let is_known = match (name, value) {
            (b"server_no_context_takeover" | b"client_no_context_takeover", None) => true,
            // What the client can do; its window may be as large as it likes.
            (b"client_max_window_bits", value) => value.is_none_or(|it| window(it).is_some()),
            (b"server_max_window_bits", Some(value)) => {
                self.server_window = window(value);
                self.server_window.is_some()
            }
            _ => false,
        };
        // At most the four that are known, so that a long list costs nothing.
        if is_known {
            self.names.push(name);
        }
        is_known
    }
}

/// The number of bits of a window: 8 to 15, without a zero in front.
fn window(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Reads `1#extension` (RFC 6455, 9.1) from its beginning.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// The next offer: `Some(None)` where it is not accepted, `None` behind the last one and where the list is malformed.
    fn offer(&mut self) -> Option<Option<Compression>> {
        while self.takes(b',') {}
        let mut is_accepted = self.token()? == NAME;
        let mut parameters = Parameters::default();
        while self.takes(b';') {
            let name = self.token()?;
            let value = if self.takes(b'=') { Some(self.value()?) } else { None };
            is_accepted = is_accepted && parameters.add(name, value.as_deref());
        }
        if !self.rest.is_empty() && !self.takes(b',') {
            return None;
        }
        let accepted = Compression { server_window: parameters.server_window };
        Some(is_accepted.then_some(accepted))
    }

    /// Passes over white space and this byte; whether it was there.
    fn takes(&mut self, byte: u8) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let behind = self.rest.strip_prefix(&[byte]);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        self.rest = self.rest.trim_ascii_start();
        let end = self.rest.iter().position(|byte| !is_token(*byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, or one in quotes.
    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.takes(b'"') {
            return self.token().map(<[u8]>::to_vec);
        }
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return (!value.is_empty()).then_some(value),
                b'\\' => {
                    let (&quoted, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    value.push(quoted);
                }
                _ => value.push(byte),
            }
        }
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn answer(offers: &str) -> Option<String> {
        Compression::of_offers(offers.as_bytes()).map(|accepted| accepted.to_string())
    }

    #[test]
    fn first_offer_that_can_be_kept_to_is_accepted() {
        for offers in [
            "permessage-deflate",
            " permessage-deflate ; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"15\"",
            "permessage-deflate; client_max_window_bits = \"1\\0\"",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "permessage-deflate,",
            ", ,permessage-deflate, permessage-deflate; server_max_window_bits=10",
            "x-webkit-deflate-frame, permessage-deflate",
            "other; server_max_window_bits=9; a=\"x,permessage-deflate;\\\"\", permessage-deflate",
            "permessage-deflate; server_max_window_bits=7, permessage-deflate",
            "permessage-deflate; unknown, permessage-deflate",
        ] {
            assert_eq!(answer(offers).as_deref(), Some(PLAIN), "{offers}");
        }
    }

    #[test]
    fn window_of_the_server_is_the_one_that_the_client_asks_for() {
        for bits in 8..=15 {
            let expected = format!("{PLAIN}; server_max_window_bits={bits}");
            for value in [format!("{bits}"), format!("\"{bits}\"")] {
                let offers = format!("permessage-deflate; server_max_window_bits={value}");
                assert_eq!(answer(&offers), Some(expected.clone()), "{offers}");
            }
            let offers = format!("permessage-deflate; server_max_window_bits={bits}");
            let accepted = Compression::of_offers(offers.as_bytes()).unwrap();
            assert_eq!(accepted.longest(), 1 << bits);
        }
        assert_eq!(Compression { server_window: None }.longest(), usize::MAX);
    }

    #[test]
    fn other_offers_are_declined() {
        for offers in [
            "",
            ",",
            "permessage-deflat",
            "permessage-deflate2",
            "permessage-deflate permessage-deflate",
            "permessage-deflate=1",
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=1",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=1e1",
            "permessage-deflate; server_max_window_bits=-9",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=18446744073709551624",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; client_max_window_bits=\"10\\",
            "@, permessage-deflate",
        ] {
            assert_eq!(answer(offers), None, "{offers}");
        }
        assert_eq!(Compression::of_offers(b"permessage-deflate\xff"), None);
    }

    #[test]
    fn long_list_costs_no_more_than_its_bytes() {
        let parameters = "permessage-deflate".to_owned() + &"; x".repeat(1 << 18);
        let offers = "permessage-deflate; client_max_window_bits=99,".repeat(1 << 15);
        for long in [parameters, offers, ",".repeat(1 << 20), "\"".repeat(1 << 20)] {
            let begun = std::time::Instant::now();
            assert_eq!(answer(&long), None);
            assert!(begun.elapsed().as_secs() < 5);
        }
    }
}
