//! Rule `migration`: every step up has its step down, and the numbers have no gaps.

use std::collections::BTreeMap;

use super::Finding;
use super::rules::{MIGRATIONS_DOWN, MIGRATIONS_UP};

/// Findings over all paths of the repository.
pub fn check(paths: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers: BTreeMap<u32, &str> = BTreeMap::new();
    for path in in_folder(paths, MIGRATIONS_UP) {
        match number(path) {
            None => {
                let text = "call it V<number>__<what_it_does>.sql, lower case".to_owned();
                findings.push(Finding::new(path, 1, "migration", text));
            }
            Some(number) => {
                if let Some(other) = numbers.insert(number, path) {
                    findings.push(Finding::new(
                        path,
                        1,
                        "migration",
                        format!("takes the number of {other}"),
                    ));
                }
            }
        }
        findings.extend(without_twin(paths, path, MIGRATIONS_UP, MIGRATIONS_DOWN));
    }
    for path in in_folder(paths, MIGRATIONS_DOWN) {
        findings.extend(without_twin(paths, path, MIGRATIONS_DOWN, MIGRATIONS_UP));
    }
    for ((number, path), expected) in numbers.iter().zip(1..) {
        if *number != expected {
            let text = format!("number {number} where {expected} comes next: no gaps");
            findings.push(Finding::new(path, 1, "migration", text));
            break;
        }
    }
    findings
}

fn in_folder<'a>(paths: &'a [String], folder: &'static str) -> impl Iterator<Item = &'a str> {
    paths
        .iter()
        .map(String::as_str)
        .filter(move |path| path.starts_with(folder) && path.ends_with(".sql"))
}

fn without_twin(paths: &[String], path: &str, from: &str, to: &str) -> Option<Finding> {
    let twin = path.replacen(from, to, 1);
    let missing = !paths.contains(&twin);
    missing.then(|| {
        Finding::new(
            path,
            1,
            "migration",
            format!("write {twin}: it must go up and down"),
        )
    })
}

fn number(path: &str) -> Option<u32> {
    let name = path.rsplit('/').next()?.strip_suffix(".sql")?;
    let (number, what) = name.strip_prefix('V')?.split_once("__")?;
    let sound = !what.is_empty()
        && what
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    number.parse().ok().filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(names: &[&str]) -> Vec<String> {
        let paths: Vec<String> = names.iter().map(|name| format!("migrations/{name}")).collect();
        check(&paths).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pairs_with_consecutive_numbers_pass() {
        let names = [
            "up/V1__domain.sql",
            "down/V1__domain.sql",
            "up/V2__audit.sql",
            "down/V2__audit.sql",
        ];
        assert_eq!(findings(&names), Vec::<String>::new());
        assert_eq!(findings(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_missing_half_is_named() {
        let found = findings(&["up/V1__domain.sql"]);
        assert_eq!(
            found,
            [
                "migrations/up/V1__domain.sql:1: migration: write migrations/down/V1__domain.sql: it must go up and down"
            ]
        );
        assert_eq!(findings(&["down/V1__domain.sql"]).len(), 1);
    }

    #[test]
    fn gaps_doubles_and_odd_names_are_found() {
        let gap = ["up/V1__a.sql", "down/V1__a.sql", "up/V3__b.sql", "down/V3__b.sql"];
        assert!(findings(&gap)[0].contains("number 3 where 2 comes next"));
        let double = ["up/V1__a.sql", "down/V1__a.sql", "up/V1__b.sql", "down/V1__b.sql"];
        assert!(findings(&double)[0].contains("takes the number of migrations/up/V1__a.sql"));
        assert!(findings(&["up/1_a.sql", "down/1_a.sql"])[0].contains("call it V<number>"));
    }
}
