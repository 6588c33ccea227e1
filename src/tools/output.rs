//! What an attempt leaves besides its effect: log lines in chunks.

use crate::{
    domain::Digest,
    sandbox::{CommandOutcome, Exit},
    store::ObjectStore,
};

/// Largest chunk.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
/// Most chunks of one attempt.
const MAX_CHUNKS: usize = 256;

/// One piece of an attempt's output, redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) stream: &'static str,
    pub(crate) level: &'static str,
    pub(crate) text: String,
}

/// Where a chunk's bytes lie.
#[derive(Debug, Clone)]
pub(crate) enum Placed {
    Object(Digest),
    Inline,
}

/// The output of all commands, in order, cut at character boundaries.
pub(crate) fn chunks(commands: &[CommandOutcome]) -> Vec<Chunk> {
    let mut all = Vec::new();
    for command in commands {
        let level = if command.exit == Exit::Code(0) {
            "info"
        } else {
            "error"
        };
        for (stream, text, level) in [
            ("stdout", &command.stdout, "info"),
            ("stderr", &command.stderr, level),
        ] {
            all.extend(cut(text).map(|text| Chunk {
                stream,
                level,
                text: text.to_owned(),
            }));
        }
        if command.truncated {
            all.push(system("warn", "output was dropped beyond the cap"));
        }
    }
    all.truncate(MAX_CHUNKS);
    all
}

/// A line of the router's own.
pub(crate) fn system(level: &'static str, text: &str) -> Chunk {
    let end = text.floor_char_boundary(CHUNK_BYTES.min(text.len()));
    Chunk {
        stream: "system",
        level,
        text: text[..end].to_owned(),
    }
}

/// Puts the bytes of each chunk into the object store; those that it does not take stay inline.
pub(crate) async fn place(objects: &ObjectStore, chunks: Vec<Chunk>) -> Vec<(Chunk, Placed)> {
    let mut placed = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let place = match objects.put(chunk.text.as_bytes()).await {
            Ok(digest) => Placed::Object(digest),
            Err(error) => {
                tracing::warn!(%error, "the object store takes nothing: a log chunk stays inline");
                Placed::Inline
            }
        };
        placed.push((chunk, place));
    }
    placed
}

fn cut(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let (head, tail) = text.split_at(text.floor_char_boundary(CHUNK_BYTES.min(text.len())));
        text = tail;
        Some(head)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_at_characters_into_chunks_of_at_most_64_kib() {
        let text = "é".repeat(CHUNK_BYTES);
        let pieces: Vec<_> = cut(&text).collect();
        assert_eq!(pieces.concat(), text);
        assert!(
            pieces.iter().all(|piece| piece.len() <= CHUNK_BYTES),
            "{}",
            pieces.len()
        );
        assert_eq!(cut("").count(), 0);
    }
}
