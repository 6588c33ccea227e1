//! Rules `name` and `length`: what modules are called and how long files are.

use super::Finding;
use super::rules::{BANNED_MODULES, MAX_LINES};
use super::source::Source;

/// Findings of one Rust file: its own name, its folders' names, its inline modules, its length.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut name = |line: usize, name: &str| {
        let text = format!("a module called `{name}` says nothing: name it by what it holds");
        findings.push(Finding::new(&source.path, line, "name", text));
    };
    for part in source.path.split('/') {
        if let Some(banned) = banned(part.strip_suffix(".rs").unwrap_or(part)) {
            name(1, banned);
        }
    }
    for (index, line) in source.code.iter().enumerate() {
        if let Some(banned) = declared_inline(line).and_then(banned) {
            name(index + 1, banned);
        }
    }
    let lines = source.raw.lines().count();
    if lines > MAX_LINES {
        let text = format!("{lines} lines: split it by action or source (at most {MAX_LINES})");
        findings.push(Finding::new(&source.path, MAX_LINES + 1, "length", text));
    }
    findings
}

/// One line about the lengths of all Rust files.
pub fn lengths(sources: &[Source]) -> String {
    let mut sizes: Vec<(usize, &str)> = sources
        .iter()
        .map(|source| (source.raw.lines().count(), source.path.as_str()))
        .collect();
    sizes.sort_unstable();
    let Some((longest, path)) = sizes.last() else {
        return "no Rust files".to_owned();
    };
    let over_300 = sizes.iter().filter(|(lines, _)| *lines > 300).count();
    let median = sizes[sizes.len() / 2].0;
    format!(
        "{} Rust files, median {median} lines, {over_300} over 300, longest {longest} ({path})",
        sizes.len()
    )
}

fn banned(name: &str) -> Option<&'static str> {
    BANNED_MODULES.iter().copied().find(|banned| *banned == name)
}

/// The name in `mod x {`; `mod x;` is found by its file.
fn declared_inline(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("mod ")?;
    let visible = matches!(before.trim(), "" | "pub" | "pub(crate)" | "pub(super)");
    let name = after.trim().strip_suffix('{')?.trim();
    visible.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(&Source::new(path, text))
            .iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn names_that_say_nothing_are_found_as_file_folder_and_inline_module() {
        assert_eq!(rules("src/util.rs", ""), ["name"]);
        assert_eq!(rules("tests/it/common/mod.rs", ""), ["name"]);
        assert_eq!(rules("src/plan/mod.rs", "pub(crate) mod helpers {\n}"), ["name"]);
        assert_eq!(
            rules("src/plan/check.rs", "mod tests {\n}\nlet core = 1;"),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn a_file_may_have_five_hundred_lines_and_no_more() {
        assert_eq!(rules("src/plan/mod.rs", &"x\n".repeat(500)), Vec::<&str>::new());
        assert_eq!(rules("src/plan/mod.rs", &"x\n".repeat(501)), ["length"]);
    }

    #[test]
    fn the_report_names_the_longest_file() {
        let sources = [
            Source::new("src/a.rs", "x\n"),
            Source::new("src/b.rs", &"x\n".repeat(301)),
        ];
        assert_eq!(
            lengths(&sources),
            "2 Rust files, median 301 lines, 1 over 300, longest 301 (src/b.rs)"
        );
    }
}
