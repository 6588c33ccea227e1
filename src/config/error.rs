//! What is wrong with a configuration: where, which key, what is expected.

/// One wrong thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key.
    #[error("{source_name}: {key}: {problem}")]
    Key {
        /// The file or variable that it comes from, or `defaults`.
        source_name: String,
        /// `section.key`.
        key: String,
        /// What was found and what is expected.
        problem: String,
    },
    /// The file cannot be read, or is not TOML.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: String,
        /// Why.
        problem: String,
    },
}
