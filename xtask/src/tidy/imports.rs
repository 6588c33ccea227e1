//! Rule `rank`: a module of `src/` uses only modules that the table of ranks lets it use.
//!
//! Looked at are the paths that begin with `crate::` (`use crate::a::b`, `use crate::{a, b::c}`, `crate::a::f()`),
//! and in `main.rs` those that begin with `carapulse::`. `super::super::…` that leaves a top-level module is not
//! seen.

use super::Finding;
use super::rules::{COMPOSITION, ONLY, ORDERED_RANK, RANKS};
use super::source::{Source, is_word};

/// Findings of one file under `src/`.
pub fn check(source: &Source) -> Vec<Finding> {
    let Some(module) = top_module(&source.path) else {
        return Vec::new();
    };
    if rank(module).is_none() {
        let text = format!("`{module}` has no rank: add it to RANKS in xtask/src/tidy/rules.rs");
        return vec![Finding::new(&source.path, 1, "rank", text)];
    }
    let mut findings = Vec::new();
    for (line, used) in used_modules(source) {
        if let Err(why) = may_use(module, &used) {
            findings.push(Finding::new(&source.path, line, "rank", why));
        }
    }
    findings
}

/// `src/plan/check.rs` and `src/plan.rs` belong to `plan`.
fn top_module(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("src/")?;
    let first = rest.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

fn may_use(module: &str, used: &str) -> Result<(), String> {
    let composed = COMPOSITION
        .iter()
        .any(|(from, to, _)| *from == module && (*to == used || *to == "*"));
    if module == used || composed {
        return Ok(());
    }
    let Some(to) = rank(used) else {
        return Ok(()); // a macro or an item of the crate's root
    };
    if let Some((_, only)) = ONLY.iter().find(|(name, _)| *name == module) {
        if only.contains(&used) {
            return Ok(());
        }
        return Err(format!(
            "`{module}` may use only {}, not `{used}`: pass in what it needs",
            only.join(", ")
        ));
    }
    let from = rank(module).unwrap_or((RANKS.len(), 0));
    let leftwards = from.0 == to.0 && from.0 == ORDERED_RANK && to.1 < from.1;
    if to.0 < from.0 || leftwards {
        return Ok(());
    }
    Err(format!(
        "`{module}` (rank {}) may not use `{used}` (rank {}): move the shared words down, or pass the thing in",
        from.0, to.0
    ))
}

/// Rank and place within it.
fn rank(module: &str) -> Option<(usize, usize)> {
    RANKS.iter().enumerate().find_map(|(rank, modules)| {
        modules
            .iter()
            .position(|name| *name == module)
            .map(|place| (rank, place))
    })
}

/// Line and top-level module of every path that begins at the crate's root.
fn used_modules(source: &Source) -> Vec<(usize, String)> {
    let mut text = String::new();
    let mut line_starts = Vec::new();
    for (line, code) in source.shipped() {
        line_starts.push((text.len(), line));
        text.push_str(code);
        text.push('\n');
    }
    let line_at = |at: usize| match line_starts.partition_point(|(start, _)| *start <= at) {
        0 => 1,
        after => line_starts[after - 1].1,
    };
    let root = if source.path == "src/main.rs" {
        "carapulse::"
    } else {
        "crate::"
    };
    let mut used = Vec::new();
    for (at, _) in text.match_indices(root) {
        let part_of_a_longer_path = text[..at]
            .chars()
            .next_back()
            .is_some_and(|c| is_word(c) || c == ':');
        if !part_of_a_longer_path {
            let after = at + root.len();
            used.extend(
                first_names(&text[after..])
                    .into_iter()
                    .map(|(offset, name)| (line_at(after + offset), name)),
            );
        }
    }
    used
}

/// The first name of each path after `crate::`: one, or those at the outer level of a `{…}` group.
fn first_names(rest: &str) -> Vec<(usize, String)> {
    let name_at = |at: usize| -> String { rest[at..].chars().take_while(|c| is_word(*c)).collect() };
    if !rest.starts_with('{') {
        return vec![(0, name_at(0))];
    }
    let mut names = Vec::new();
    let mut depth = 0usize;
    let mut expected = false;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if expected && depth == 1 && is_word(c) => {
                names.push((at, name_at(at)));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (c == ',' || (c == '{' && at == 0)) {
            expected = true;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn lower_ranks_and_stages_to_the_left_may_be_used() {
        let text = "use crate::domain::Actor;\nuse crate::{policy, context::Snapshot};\nfn f() { crate::store::x() }";
        assert_eq!(findings("src/plan/check.rs", text), Vec::<String>::new());
        assert_eq!(
            findings("src/roles/mod.rs", "use crate::config::Config;"),
            Vec::<String>::new()
        );
        assert_eq!(
            findings("src/lib.rs", "pub use crate::cli::run;"),
            Vec::<String>::new()
        );
        assert_eq!(
            findings("src/main.rs", "use carapulse::cli;"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn higher_ranks_equal_ranks_and_stages_to_the_right_may_not() {
        let found = findings("src/plan/check.rs", "\nuse crate::execution::start;");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("src/plan/check.rs:2: rank: `plan` (rank 5) may not use `execution`"),
            "{found:?}"
        );
        assert_eq!(
            findings("src/store/mod.rs", "fn f() { crate::connectors::x() }").len(),
            1
        );
        assert_eq!(findings("src/store/mod.rs", "use crate::audit::record;").len(), 1);
    }

    #[test]
    fn a_group_is_read_name_by_name_over_several_lines() {
        let text = "use crate::{\n    domain::{execution, Actor},\n    gateway::Problem,\n};\n";
        let found = findings("src/plan/mod.rs", text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("src/plan/mod.rs:3: rank: `plan`"),
            "{found:?}"
        );
    }

    #[test]
    fn policy_and_sandbox_know_the_domain_only() {
        assert_eq!(
            findings("src/sandbox/server.rs", "use crate::domain::Id;"),
            Vec::<String>::new()
        );
        let found = findings("src/sandbox/server.rs", "use crate::store::Pool;");
        assert!(found[0].contains("may use only domain"), "{found:?}");
    }

    #[test]
    fn test_code_comments_and_strings_are_not_looked_at() {
        let text = "// crate::gateway::x\nconst A: &str = \"crate::gateway\";\n#[cfg(test)]\nmod tests {\n    use crate::gateway::x;\n}\n";
        assert_eq!(findings("src/store/mod.rs", text), Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_rank_is_named() {
        assert!(findings("src/billing/mod.rs", "")[0].contains("`billing` has no rank"));
    }
}
