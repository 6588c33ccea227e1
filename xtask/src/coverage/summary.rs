//! What was covered, by top-level module: for people (Markdown), for machines (JSON), in one line.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

#[derive(Default)]
pub struct Summary {
    modules: BTreeMap<String, Lines>,
}

#[derive(Default, Clone, Copy)]
struct Lines {
    all: u64,
    covered: u64,
}

impl Lines {
    fn percent(self) -> f64 {
        if self.all == 0 {
            return 100.0;
        }
        // Line counts are far below 2^52, so both are exact.
        self.covered as f64 * 100.0 / self.all as f64
    }

    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.covered += other.covered;
    }
}

impl Summary {
    /// Reads llvm-cov's export; only files under `src/` of `root` are counted.
    pub fn of(export: &str, root: &Path) -> Result<Self> {
        let export: Value = serde_json::from_str(export).context("llvm-cov prints JSON")?;
        let files = export.pointer("/data/0/files").and_then(Value::as_array);
        let source = root.join("src");
        let mut summary = Self::default();
        for file in files.context("llvm-cov lists files")? {
            let path = Path::new(file["filename"].as_str().context("a file has a name")?);
            // The compiler names files from the root; llvm-cov joins them with the folder of the build where it can.
            let Ok(inside) = path.strip_prefix(&source).or_else(|_| path.strip_prefix("src")) else {
                continue;
            };
            let lines = &file["summary"]["lines"];
            summary.modules.entry(module(inside)).or_default().add(Lines {
                all: lines["count"].as_u64().context("lines are counted")?,
                covered: lines["covered"].as_u64().context("lines are counted")?,
            });
        }
        if summary.modules.is_empty() {
            bail!("no file under {} was counted", source.display());
        }
        Ok(summary)
    }

    pub fn percent(&self) -> f64 {
        self.total().percent()
    }

    pub fn line(&self, floor: f64) -> String {
        let total = self.total();
        format!(
            "coverage: {:.2} % of {} lines (floor {floor:.2} %)",
            total.percent(),
            total.all
        )
    }

    pub fn json(&self) -> Result<String> {
        let modules: BTreeMap<&str, Value> = self
            .modules
            .iter()
            .map(|(name, lines)| {
                (
                    name.as_str(),
                    json!({ "lines": lines.all, "covered": lines.covered }),
                )
            })
            .collect();
        let total = self.total();
        let all = json!({ "lines": total.all, "covered": total.covered, "modules": modules });
        Ok(serde_json::to_string_pretty(&all)?)
    }

    pub fn markdown(&self, floor: f64) -> String {
        let mut text = format!("## Coverage\n\n{}\n\n", self.line(floor));
        text.push_str("| module | lines | covered |\n|---|---:|---:|\n");
        for (name, lines) in &self.modules {
            text.push_str(&format!(
                "| `{name}` | {} | {:.1} % |\n",
                lines.all,
                lines.percent()
            ));
        }
        text
    }

    fn total(&self) -> Lines {
        let mut total = Lines::default();
        for lines in self.modules.values() {
            total.add(*lines);
        }
        total
    }
}

/// `plan/check.rs` belongs to `plan`, `main.rs` to `main.rs`.
fn module(inside: &Path) -> String {
    let first = inside
        .components()
        .next()
        .map(|part| part.as_os_str().to_string_lossy());
    first.unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, all: u64, covered: u64) -> Value {
        json!({ "filename": name, "summary": { "lines": { "count": all, "covered": covered } } })
    }

    fn export(files: &[Value]) -> String {
        json!({ "data": [{ "files": files }] }).to_string()
    }

    #[test]
    fn lines_are_summed_by_module_and_others_files_left_out() {
        let text = export(&[
            file("/r/src/plan/mod.rs", 100, 90),
            file("/r/src/plan/check.rs", 100, 70),
            file("/r/src/main.rs", 10, 10),
            file("/elsewhere/lib.rs", 1000, 0),
        ]);
        let summary = Summary::of(&text, Path::new("/r")).expect("read");
        assert_eq!(
            summary.line(80.0),
            "coverage: 80.95 % of 210 lines (floor 80.00 %)"
        );
        let markdown = summary.markdown(80.0);
        assert!(markdown.contains("| `plan` | 200 | 80.0 % |"), "{markdown}");
        assert!(!markdown.contains("elsewhere"), "{markdown}");
    }

    #[test]
    fn nothing_counted_is_an_error_and_not_a_hundred_percent() {
        assert!(Summary::of(&export(&[file("/elsewhere/lib.rs", 5, 5)]), Path::new("/r")).is_err());
    }
}
