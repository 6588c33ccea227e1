//! How answers are shown: tables for people, JSON or YAML for programs.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use super::Common;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns and lines for people
    Table,
    /// The API's JSON
    Json,
    /// The same as YAML
    Yaml,
}

/// Writes answers to standard output.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) format: Format,
    colour: bool,
}

impl Output {
    pub(super) fn new(common: &Common) -> Self {
        let refused = common.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            format: common.output,
            colour: !refused && std::io::stdout().is_terminal(),
        }
    }

    /// Shows an answer as it came, or with `people` for a table.
    pub(super) fn show(&self, answer: &Value, people: impl FnOnce(&Self)) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.line(&serde_json::to_string_pretty(answer)?),
            Format::Yaml => self.line(serde_saphyr::to_string(answer)?.trim_end()),
            Format::Table => people(self),
        }
        Ok(())
    }

    /// Rows of a list under `columns`: (heading, JSON pointer).
    pub(super) fn rows(&self, rows: &[Value], columns: &[(&str, &str)]) {
        if rows.is_empty() {
            self.line("nothing");
            return;
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if !self.colour {
            table.force_no_tty();
        }
        table.set_header(columns.iter().map(|(heading, _)| self.heading(heading)));
        for row in rows {
            table.add_row(columns.iter().map(|(_, pointer)| self.cell(&text(row, pointer))));
        }
        for line in table.lines() {
            self.line(line.trim_end());
        }
    }

    /// Named values of one thing, one a line.
    pub(super) fn fields(&self, value: &Value, fields: &[(&str, &str)]) {
        for (name, pointer) in fields {
            let text = text(value, pointer);
            if !text.is_empty() {
                self.line(&format!("{name:<12} {text}"));
            }
        }
    }

    /// One line. Nobody may be reading any more: that is no fault of the command.
    pub(super) fn line(&self, line: &str) {
        outln!("{line}");
    }

    fn heading(&self, text: &str) -> Cell {
        let cell = Cell::new(text.to_uppercase());
        if self.colour {
            cell.add_attribute(Attribute::Bold)
        } else {
            cell
        }
    }

    /// Colour only underlines what the word says already.
    fn cell(&self, text: &str) -> Cell {
        let cell = Cell::new(text);
        let colour = match text {
            "succeeded" | "approved" | "granted" | "executed" | "resolved" | "delivered" | "done" => {
                Color::Green
            }
            "failed" | "rollback_failed" | "denied" | "unknown" | "needs_attention" => Color::Red,
            "running" | "rolling_back" | "pending" | "pending_approval" | "open" => Color::Yellow,
            _ => return cell,
        };
        if self.colour { cell.fg(colour) } else { cell }
    }
}

/// The text at a JSON pointer, fit for a terminal.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => printable(text),
        Some(other) => printable(&other.to_string()),
    }
}

/// Without control and direction characters; line ends become blanks. Servers repeat what strangers wrote.
pub(super) fn printable(text: &str) -> String {
    let kept = text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c });
    kept.filter(|c| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_strangers_wrote_moves_no_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\nd\re"), "a[2Jbc de");
        assert_eq!(text(&json!({"a": {"b": "x\u{7}"}}), "/a/b"), "x");
        assert_eq!(text(&json!({"a": null}), "/a"), "");
        assert_eq!(text(&json!({"a": [1, 2]}), "/a"), "[1,2]");
    }
}
