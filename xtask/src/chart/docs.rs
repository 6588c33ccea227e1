//! `cargo xtask chart docs`: the chart's generated files. `cargo xtask gen` writes and checks them, too.
//!
//! The table of values in `chart/README.md`, from the comments `# --` in `values.yaml`; `values.schema.json`, see `schema`; the
//! dashboards and alerts under `chart/files`, which are those of `observability/` (a chart cannot read outside its folder).

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{files, schema};
use crate::generate::difference;
use crate::report::say;
use crate::workspace;

const BEGIN: &str = "<!-- values: made by `cargo xtask chart docs` -->\n";
const END: &str = "<!-- end of values -->\n";

/// Writes what is not as it should be; with `check`, names it.
pub fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (file, wanted) in generated()? {
        let present = fs::read_to_string(workspace::path(&file)).unwrap_or_default();
        let Some(difference) = difference(&present, &wanted) else {
            continue;
        };
        if check {
            stale.push(format!("{file}: {difference}"));
        } else {
            let path = workspace::path(&file);
            fs::create_dir_all(path.parent().context("a generated file lies in a folder")?)?;
            fs::write(path, wanted)?;
            say(&format!("wrote {file}"));
        }
    }
    stale.extend(
        files::leftovers()?
            .into_iter()
            .map(|file| format!("{file}: is no longer among what it is copied from")),
    );
    if !stale.is_empty() {
        bail!("`cargo xtask chart docs` writes them anew:\n{}", stale.join("\n"));
    }
    Ok(())
}

/// Every generated file of the chart, as it should be.
pub fn generated() -> Result<Vec<(String, String)>> {
    let mut all = vec![
        ("chart/README.md".to_owned(), readme()?),
        ("chart/values.schema.json".to_owned(), schema::text()?),
    ];
    all.extend(files::copies()?);
    Ok(all)
}

fn readme() -> Result<String> {
    let present = fs::read_to_string(workspace::path("chart/README.md")).context("chart/README.md")?;
    let (before, rest) = present
        .split_once(BEGIN)
        .context("chart/README.md: where is the table?")?;
    let (_, after) = rest
        .split_once(END)
        .context("chart/README.md: where does the table end?")?;
    let values = fs::read_to_string(workspace::path("chart/values.yaml")).context("chart/values.yaml")?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", table(&values)?))
}

/// `| key | default | what it is |`, in the order of the file. A key with a comment of its own speaks for all below it that have none.
fn table(text: &str) -> Result<String> {
    let values: Value = serde_saphyr::from_str(text).context("values.yaml")?;
    let mut lines = vec!["| Key | Default | |".to_owned(), "|---|---|---|".to_owned()];
    let described = described(text);
    for (path, comment) in &described {
        let default = values
            .pointer(&format!("/{}", path.replace('.', "/")))
            .with_context(|| format!("values.yaml: {path} has a comment and no value"))?;
        lines.push(format!(
            "| `{path}` | `{default}` | {} |",
            comment.replace('|', "\\|")
        ));
    }
    let mut leaves = Vec::new();
    leaves_of(&values, "", &mut leaves);
    let covered = |leaf: &str| {
        described.iter().any(|(path, _)| {
            leaf == path
                || leaf
                    .strip_prefix(path.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
        })
    };
    if let Some(leaf) = leaves.iter().find(|leaf| !covered(leaf)) {
        bail!("values.yaml: nothing says what {leaf} is: write `# -- …` above it");
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// `(path, comment)` of each key that has a comment `# --` directly above it.
fn described(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut parents: Vec<(usize, &str)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(begun) = trimmed.strip_prefix("# -- ") {
            comment = Some(begun.to_owned());
            continue;
        }
        let Some(key) = key(trimmed) else {
            comment = None;
            continue;
        };
        parents.retain(|(depth, _)| *depth < indent);
        parents.push((indent, key));
        if let Some(comment) = comment.take() {
            let path: Vec<&str> = parents.iter().map(|(_, key)| *key).collect();
            found.push((path.join("."), comment));
        }
    }
    found
}

/// The key of `key:` or `key: value`; none for comments, list items and what else a line may be.
fn key(line: &str) -> Option<&str> {
    let (key, rest) = line.split_once(':')?;
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (plain && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
}

fn leaves_of(value: &Value, path: &str, into: &mut Vec<String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves_of(value, &path, into);
            }
        }
        None => into.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str =
        "# heading\na:\n  # -- what b is, a|b\n  b: {}\n  # -- of c\n  c:\n    d: 1\n# -- e\ne: [x]\n";

    #[test]
    fn comments_become_rows_and_speak_for_what_is_below() {
        let table = table(VALUES).expect("a table");
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `a.b` | `{}` | what b is, a\\|b |",
                "| `a.c` | `{\"d\":1}` | of c |",
                "| `e` | `[\"x\"]` | e |"
            ]
        );
    }

    #[test]
    fn a_value_that_nothing_describes_is_named() {
        let error = table("# -- a\na: 1\nb:\n  c: 2\n").expect_err("b.c");
        assert!(error.to_string().contains("b.c"), "{error}");
    }
}
