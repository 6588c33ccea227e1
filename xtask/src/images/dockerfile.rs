//! The `Dockerfile` as far as it is checked: its arguments and, stage by stage, its instructions.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

/// What the file says, with continued lines joined and comments left out.
pub struct Dockerfile {
    /// `(name, default)` of every `ARG` with a default, in order.
    pub arguments: Vec<(String, String)>,
    pub stages: Vec<Stage>,
}

/// From one `FROM` to the next.
pub struct Stage {
    pub name: String,
    /// The stage or image that it stands on.
    pub from: String,
    pub lines: Vec<String>,
}

impl Dockerfile {
    /// The repository's.
    pub fn read() -> Result<Self> {
        let path = workspace::path("Dockerfile");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(&text))
    }

    /// The default of a build argument.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let mut found = self.arguments.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    pub fn parse(text: &str) -> Self {
        let mut file = Self {
            arguments: Vec::new(),
            stages: Vec::new(),
        };
        for line in instructions(text) {
            if let Some((name, value)) = line.strip_prefix("ARG ").and_then(|rest| rest.split_once('=')) {
                file.arguments.push((name.to_owned(), value.to_owned()));
            }
            if let Some(stage) = line.strip_prefix("FROM ").and_then(Stage::begin) {
                file.stages.push(stage);
            } else if let Some(stage) = file.stages.last_mut() {
                stage.lines.push(line);
            }
        }
        file
    }
}

impl Stage {
    /// `debian:x AS name`
    fn begin(rest: &str) -> Option<Self> {
        let words: Vec<&str> = rest
            .split_whitespace()
            .filter(|word| !word.starts_with("--"))
            .collect();
        let name = match words.as_slice() {
            [_, keyword, name] if keyword.eq_ignore_ascii_case("as") => (*name).to_owned(),
            _ => String::new(),
        };
        Some(Self {
            name,
            from: (*words.first()?).to_owned(),
            lines: Vec::new(),
        })
    }

    /// The last instruction of this name, without the name: the one that holds.
    pub fn last(&self, instruction: &str) -> Option<&str> {
        let mut found = self.lines.iter().rev().filter_map(|line| {
            let (word, rest) = line.split_once(' ')?;
            (word == instruction).then_some(rest)
        });
        found.next()
    }
}

fn instructions(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = String::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(begun) => {
                open.push_str(begun.trim_end());
                open.push(' ');
            }
            None => found.push(std::mem::take(&mut open) + line),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stages_and_continued_lines_are_read() {
        let text = "# ARG NOT=this\nARG A=1\nFROM --platform=x debian:x AS one\nRUN a \\\n    # why\n    && b\nUSER 1:1\n\
                    FROM one AS two\nARG B=2\nUSER 2:2\nUSER 3:3\n";
        let file = Dockerfile::parse(text);
        assert_eq!(file.argument("A"), Some("1"));
        assert_eq!(file.argument("B"), Some("2"));
        assert_eq!(file.argument("NOT"), None);
        let one = file.stage("one").expect("there");
        assert_eq!((one.from.as_str(), one.last("RUN")), ("debian:x", Some("a && b")));
        let two = file.stage("two").expect("there");
        assert_eq!((two.from.as_str(), two.last("USER")), ("one", Some("3:3")));
        assert_eq!(two.last("EXPOSE"), None);
    }
}
