//! Rule `text`: words that must not be in the repository.

use super::Finding;
use super::rules::{BANNED_TEXT, BannedText, Look};
use super::source::{Source, has_word};

/// Findings of one Rust file: banned code and banned words in comments.
pub fn check_rust(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for banned in applicable(&source.path) {
        match banned.look {
            Look::Code => {
                for (index, line) in source
                    .code
                    .iter()
                    .enumerate()
                    .filter(|(_, line)| line.contains(banned.text))
                {
                    if starts_a_word(line, banned.text) {
                        findings.push(finding(&source.path, index, banned));
                    }
                }
            }
            Look::RustWord => {
                let lines = source.raw.lines().enumerate();
                let hits = lines.filter(|(_, line)| has_word(line, banned.text));
                findings.extend(hits.map(|(index, _)| finding(&source.path, index, banned)));
            }
            Look::Everywhere => {}
        }
    }
    findings
}

/// Findings of any text file: hosts and paths.
pub fn check_any(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for banned in applicable(path).filter(|banned| banned.look == Look::Everywhere) {
        let hits = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(banned.text));
        findings.extend(hits.map(|(index, _)| finding(path, index, banned)));
    }
    findings
}

fn applicable(path: &str) -> impl Iterator<Item = &'static BannedText> {
    BANNED_TEXT
        .iter()
        .filter(move |banned| !banned.except.contains(&path))
}

/// `todo!` is not the end of `my_todo!`.
fn starts_a_word(line: &str, text: &str) -> bool {
    line.match_indices(text)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(super::source::is_word))
}

fn finding(path: &str, index: usize, banned: &BannedText) -> Finding {
    Finding::new(
        path,
        index + 1,
        "text",
        format!("`{}`: {}", banned.text, banned.instead),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(path: &str, text: &str) -> usize {
        check_rust(&Source::new(path, text)).len()
    }

    #[test]
    fn placeholders_and_silenced_lints_are_found_in_code_and_in_tests() {
        assert_eq!(rust("src/a.rs", "fn f() { todo!() }"), 1);
        assert_eq!(rust("tests/it/a.rs", "#[ignore = \"slow\"]\nfn f() {}"), 1);
        assert_eq!(
            rust("src/a.rs", "#[allow(dead_code)]\nfn f() { unimplemented!() }"),
            2
        );
        assert_eq!(rust("src/lib.rs", "#![allow(dead_code)]"), 1);
        assert_eq!(
            rust(
                "src/a.rs",
                "#[expect(dead_code, reason = \"x\")]\nfn f() { my_todo!() } // todo!"
            ),
            0
        );
    }

    #[test]
    fn the_clock_is_read_in_one_file() {
        assert_eq!(rust("src/plan/mod.rs", "let now = chrono::Utc::now();"), 1);
        assert_eq!(rust("src/domain/clock.rs", "let now = chrono::Utc::now();"), 0);
    }

    #[test]
    fn marks_in_comments_are_found_as_whole_words() {
        assert_eq!(rust("src/a.rs", concat!("// FIX", "ME later")), 1);
        assert_eq!(rust("src/a.rs", concat!("// sha256:", "XX", "XX")), 0);
    }

    #[test]
    fn hosts_and_machine_paths_are_found_in_every_file_but_the_lock_file() {
        let text = concat!("a\nfetch https://proxy.go", "lang.org/x\n");
        let found = check_any("docs/a.md", text);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].to_string().starts_with("docs/a.md:2: text: "),
            "{}",
            found[0]
        );
        assert_eq!(check_any("Cargo.lock", text).len(), 0);
        assert_eq!(check_any("a.toml", concat!("x = '/wo", "rk/y'")).len(), 1);
        assert_eq!(check_any("a.md", "homework, shared").len(), 0);
    }
}
