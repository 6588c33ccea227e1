//! The table in `docs/audit.md`, between two marks. What stands around it is written by hand.

use std::fs;

use anyhow::{Context, Result, bail};

use super::rows::{Proof, Row};
use crate::report::say;
use crate::workspace;

const FILE: &str = "docs/audit.md";
const BEGIN: &str = "<!-- rows: written by `cargo xtask delivery --write` -->\n";
const END: &str = "<!-- end of rows -->";

/// Writes the table anew.
pub fn write(rows: &[Row]) -> Result<()> {
    let path = workspace::path(FILE);
    let text = fs::read_to_string(&path).context(FILE)?;
    fs::write(&path, with_table(&text, &table(rows))?)?;
    say(&format!("wrote {FILE}: {} rows", rows.len()));
    Ok(())
}

/// An error when the file does not say what the rows say.
pub fn check(rows: &[Row]) -> Result<()> {
    let text = fs::read_to_string(workspace::path(FILE)).context(FILE)?;
    if with_table(&text, &table(rows))? != text {
        bail!("{FILE} does not say what the rows say: `cargo xtask delivery --write`");
    }
    Ok(())
}

fn with_table(text: &str, table: &str) -> Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{FILE} has no line `{}`", BEGIN.trim()))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{FILE} has no line `{END}`"))?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| | The audit says | What stands for it | Proof | Where |\n|---|---|---|---|---|\n");
    for row in rows {
        let files: Vec<String> = row.files.iter().map(|file| format!("`{file}`")).collect();
        let here = [row.here.to_owned(), files.join(" ")]
            .into_iter()
            .filter(|part| !part.is_empty());
        let here: Vec<String> = here.collect();
        let proofs: Vec<String> = row.proofs.iter().map(|proof| shown(proof, row.id)).collect();
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            row.id,
            cell(row.says),
            cell(&here.join("<br>")),
            cell(&proofs.join("<br>")),
            row.standing()
        ));
    }
    text
}

fn shown(proof: &Proof, id: &str) -> String {
    match proof {
        Proof::Read(_) => format!("`cargo xtask delivery --only {id}` reads it"),
        Proof::Quick(command) | Proof::Full(command) => format!("`cargo xtask {command}`"),
        Proof::GitHub(what) => format!("on GitHub: {what}"),
        Proof::Absent(why) => (*why).to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_the_table_stays() {
        let text = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let written = with_table(&text, "| new |\n").expect("written");
        assert_eq!(written, format!("before\n{BEGIN}\n| new |\n\n{END}\nafter\n"));
        assert_eq!(with_table(&written, "| new |\n").expect("again"), written);
        assert!(with_table("no marks", "").is_err());
    }

    #[test]
    fn the_file_says_what_the_rows_say() {
        check(&super::super::rows::all()).expect("docs/audit.md is as the rows are");
    }

    #[test]
    fn a_cell_cannot_break_the_table() {
        assert_eq!(cell("a | b\nc"), "a \\| b c");
    }
}
