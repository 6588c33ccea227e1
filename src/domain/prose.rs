//! What a person wrote, or a stranger: notes, reasons, names in alerts.

use serde::{Deserialize, Deserializer, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::redact::Redactor;

/// Somebody's words without the secrets in them, in normal form C. Whatever is kept, shown or sent of such words is kept as
/// this type: a body that has a field of it cannot let the raw text in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Prose(String);

impl Prose {
    /// Takes the secrets out.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Redactor::new().redact_text(text).nfc().collect())
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Prose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_11_words_are_read_without_the_secrets_in_them() {
        let token = concat!("ghp_", "0123456789abcdefghijklmnopqrstuvwxyzAB");
        let text = format!("rolled back by hand, {token} was leaked; e\u{301}");
        let read: Prose = serde_json::from_value(text.clone().into()).expect("text");
        assert_eq!(read.as_str(), "rolled back by hand, *** was leaked; é");
        assert_eq!(Prose::new(&text), read);
        assert_eq!(serde_json::to_value(&read).expect("JSON"), read.as_str());
    }
}
