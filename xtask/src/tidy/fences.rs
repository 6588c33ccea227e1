//! Rule `fence`: some libraries are named in some places only.

use super::Finding;
use super::rules::{FENCES, Fence};
use super::source::{Source, has_word};

/// Findings of one file under `src/`.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fence in FENCES.iter().filter(|fence| !is_inside(fence, &source.path)) {
        for (line, code) in source.shipped() {
            if let Some(word) = fence.words.iter().find(|word| has_word(code, word)) {
                findings.push(Finding::new(
                    &source.path,
                    line,
                    "fence",
                    format!("`{word}`: {}", fence.instead),
                ));
            }
        }
    }
    findings
}

fn is_inside(fence: &Fence, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    fence.under.iter().any(|folder| path.starts_with(folder)) || fence.named.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn inside_its_fence_each_word_may_stand() {
        assert_eq!(count("src/plan/store.rs", "use sqlx::PgConnection;"), 0);
        assert_eq!(count("src/store/pool.rs", "use sqlx::PgPool;"), 0);
        assert_eq!(
            count(
                "src/sandbox/server.rs",
                "use axum::Router;\nuse std::process::Command;"
            ),
            0
        );
        assert_eq!(count("src/policy/engine.rs", "use regorus::Engine;"), 0);
        assert_eq!(count("src/store/embedded.rs", "use tokio::process::Command;"), 0);
        assert_eq!(
            count(
                "src/cli/demo/world.rs",
                "use std::process::Command; use anyhow::Result;"
            ),
            0
        );
    }

    #[test]
    fn outside_it_each_is_a_finding_with_the_way_out() {
        assert_eq!(count("src/plan/mod.rs", "use sqlx::PgConnection;"), 1);
        assert_eq!(count("src/plan/mod.rs", "use axum::Json;"), 1);
        assert_eq!(count("src/policy/mod.rs", "use regorus::Engine;"), 1);
        assert_eq!(count("src/tools/mod.rs", "use std::process::Command;"), 1);
        assert_eq!(count("src/tools/mod.rs", "use tokio::process;"), 1);
        assert_eq!(count("src/domain/id.rs", "fn f() -> anyhow::Result<()>"), 1);
        let text = check(&Source::new("src/plan/mod.rs", "\nuse sqlx::query;"))[0].to_string();
        assert!(
            text.starts_with("src/plan/mod.rs:2: fence: `sqlx`: SQL lives in"),
            "{text}"
        );
    }

    #[test]
    fn a_name_that_only_contains_the_word_and_test_code_pass() {
        assert_eq!(count("src/plan/mod.rs", "struct SqlxLike; // sqlx"), 0);
        assert_eq!(
            count(
                "src/plan/mod.rs",
                "#[cfg(test)]\nmod tests {\n    use sqlx::query;\n}"
            ),
            0
        );
    }
}
