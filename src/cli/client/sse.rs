//! Reading server-sent events: bytes in, whole events out.

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// Collects bytes until events are whole, and remembers the last id.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    event: Event,
    /// What to send as `Last-Event-ID` when the stream breaks off.
    pub(super) last_id: Option<String>,
    pending_id: Option<String>,
}

impl Reader {
    /// Takes bytes as they come; returns the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        events
    }

    /// Forgets what was begun, before a new connection.
    pub(super) fn restart(&mut self) {
        self.buffer.clear();
        self.event = Event::default();
        self.pending_id = None;
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if let Some(id) = self.pending_id.take() {
                self.last_id = Some(id);
            }
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.pending_id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment, or a field of a later version.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whole_however_they_are_cut() {
        let stream = ":ok\n\nevent: step\nid: 1.0.a\ndata: {\"x\":1}\n\n:hb\n\nevent: log\r\ndata: a\r\ndata: b\r\n\r\n";
        let event = |name: &str, data: &str| Event {
            name: name.to_owned(),
            data: data.to_owned(),
        };
        for size in 1..stream.len() {
            let mut reader = Reader::default();
            let events: Vec<_> = stream
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| reader.push(piece))
                .collect();
            assert_eq!(
                events,
                [event("step", "{\"x\":1}"), event("log", "a\nb")],
                "cut at {size}"
            );
            assert_eq!(reader.last_id.as_deref(), Some("1.0.a"));
        }
    }

    #[test]
    fn an_id_counts_only_with_its_whole_event() {
        let mut reader = Reader::default();
        assert!(reader.push(b"id: 7\ndata: x\n").is_empty());
        assert_eq!(reader.last_id, None);
        reader.restart();
        assert_eq!(reader.push(b"data: y\n\n").len(), 1);
        assert_eq!(reader.last_id, None);
    }
}
