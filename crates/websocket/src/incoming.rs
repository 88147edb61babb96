//! What a client has sent, as far as the owner of a WebSocket has to know. It never knows a stream.

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;

/// What one read has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message of text.
    Text(String),
    /// A message of bytes.
    Bytes(Vec<u8>),
    /// A ping, which is answered already, or as soon as there is room.
    Ping,
    /// An answer to a ping, or an unsolicited one.
    Pong,
    /// The client closes, which the next read answers, or it answers a close.
    Close {
        /// Its code (RFC 6455, 7.4); 1005 where the client sent none, 1002 where it sent one that must not be sent.
        code: u16,
        /// Its reason, which may be empty.
        reason: String,
    },
    /// Nothing complete has come.
    Nothing,
    /// Both ends have closed. What is kept may still be sent.
    Over,
    /// The client has broken the rules: the WebSocket is to be closed with this code and reason, and nothing more is read.
    Wrong {
        /// 1002, 1007 or 1009.
        code: u16,
        /// For the client and the application.
        reason: &'static str,
    },
    /// Nothing more can be read or said: the stream has failed, or bytes have come behind a close.
    Lost,
}

impl Incoming {
    pub(crate) const TOO_BIG: Self = Self::Wrong { code: 1009, reason: "message too big" };
    pub(crate) const NO_UTF_8: Self = Self::Wrong { code: 1007, reason: "text that is not UTF-8" };

    pub(crate) fn close(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = match frame {
            Some(frame) => (frame.code.into(), frame.reason.as_str().to_owned()),
            None => (1005, String::new()),
        };
        Self::Close { code, reason }
    }

    pub(crate) fn failure(why: &Error) -> Self {
        match why {
            Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::ReceivedAfterClosing,
            ) => Self::Lost,
            Error::Protocol(_) => Self::Wrong { code: 1002, reason: "protocol error" },
            Error::Utf8(_) => Self::NO_UTF_8,
            Error::Capacity(_) => Self::TOO_BIG,
            _ => Self::Lost,
        }
    }
}
