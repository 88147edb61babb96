//! Byte strings in JSON: paths, and other bytes that need not be text. Each byte is the character of its number
//! (Latin-1). Apache's parent and the daemon programs are of one release, and no other program reads it.
//!
//! For use as `#[serde(with = "byte_string")]`.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// A value of bytes, or several.
pub trait ByteString: Sized {
    /// What stands for it in JSON.
    type Text: Serialize + DeserializeOwned;

    /// The characters of the bytes.
    fn to_text(&self) -> Self::Text;

    /// The bytes of the characters; `None` where a character is no byte.
    fn from_text(text: Self::Text) -> Option<Self>;
}

impl ByteString for OsString {
    type Text = String;

    fn to_text(&self) -> String {
        self.as_bytes().iter().map(|&byte| char::from(byte)).collect()
    }

    fn from_text(text: String) -> Option<Self> {
        let bytes: Option<Vec<u8>> = text.chars().map(|it| u8::try_from(it).ok()).collect();
        bytes.map(Self::from_vec)
    }
}

impl ByteString for PathBuf {
    type Text = String;

    fn to_text(&self) -> String {
        self.as_os_str().to_owned().to_text()
    }

    fn from_text(text: String) -> Option<Self> {
        OsString::from_text(text).map(Self::from)
    }
}

impl<T: ByteString> ByteString for Option<T> {
    type Text = Option<T::Text>;

    fn to_text(&self) -> Self::Text {
        self.as_ref().map(T::to_text)
    }

    fn from_text(text: Self::Text) -> Option<Self> {
        match text {
            Some(text) => T::from_text(text).map(Some),
            None => Some(None),
        }
    }
}

impl<T: ByteString> ByteString for Vec<T> {
    type Text = Vec<T::Text>;

    fn to_text(&self) -> Self::Text {
        self.iter().map(T::to_text).collect()
    }

    fn from_text(text: Self::Text) -> Option<Self> {
        text.into_iter().map(T::from_text).collect()
    }
}

impl<A: ByteString, B: ByteString> ByteString for (A, B) {
    type Text = (A::Text, B::Text);

    fn to_text(&self) -> Self::Text {
        (self.0.to_text(), self.1.to_text())
    }

    fn from_text((first, second): Self::Text) -> Option<Self> {
        Some((A::from_text(first)?, B::from_text(second)?))
    }
}

/// For `#[serde(with)]`.
pub fn serialize<T: ByteString, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.to_text().serialize(to)
}

/// For `#[serde(with)]`.
pub fn deserialize<'de, T: ByteString, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = T::Text::deserialize(from)?;
    T::from_text(text).ok_or_else(|| D::Error::custom("a character beyond U+00FF is no byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        let every = OsString::from_vec((0..=255).collect());
        let nested = vec![vec![PathBuf::from(every.clone())], Vec::new()];
        let text = serde_json::to_vec(&nested.to_text()).unwrap();
        assert!(!text.contains(&b'\n'));
        let back = serde_json::from_slice(&text).unwrap();
        assert_eq!(Vec::<Vec<PathBuf>>::from_text(back), Some(nested));
        assert_eq!(Option::<OsString>::from_text(None), Some(None));
        assert_eq!(Option::<OsString>::from_text(Some(every.to_text())), Some(Some(every)));
    }

    #[test]
    fn character_that_is_no_byte_is_refused() {
        assert_eq!(PathBuf::from_text("/srv/\u{100}".to_owned()), None);
        assert_eq!(Vec::<PathBuf>::from_text(vec!["/a".to_owned(), "€".to_owned()]), None);
    }
}
