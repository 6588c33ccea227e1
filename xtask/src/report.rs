//! What the front door prints, and how it runs other programs.
//!
//! In: a command, or a named step. Out: one line when a step starts, one when it ends with the time it took;
//! an error that names the program and how it ended. Everything printed here goes to stderr, so that
//! `cargo xtask tools path etcd` leaves only the path on stdout.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// One line of progress on stderr.
pub fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// Runs `work`, says that it begins and, with the time it took, how it ended.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(&format!("{name} …"));
    let started = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    say(&format!("{name}: {verdict} in {}", seconds(started.elapsed())));
    result
}

/// A duration as people read it: `0.4 s`, `2 min 05 s`.
pub fn seconds(elapsed: Duration) -> String {
    let whole = elapsed.as_secs();
    if whole < 60 {
        return format!("{:.1} s", elapsed.as_secs_f64());
    }
    format!("{} min {:02} s", whole / 60, whole % 60)
}

/// Runs a program with this process's own output streams; an exit other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Runs a program and hands back what it wrote; an exit other than 0 is an error that quotes its last lines.
pub fn capture(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!(
            "`{shown}` ended with {}\n{}",
            output.status,
            last_lines(&both_streams(&output), 20)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Standard output followed by standard error, as text.
pub fn both_streams(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// The last `count` lines of a text, each indented, for the tail of an error.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(count)..];
    tail.iter().map(|line| format!("    {line}\n")).collect()
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    let line = words.join(" ");
    if line.chars().count() <= 160 {
        return line;
    }
    let cut: String = line.chars().take(157).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn a_failing_program_is_named_with_its_last_words() {
        let error = capture(Command::new("sh").args(["-c", "echo first; echo why >&2; exit 3"]));
        let text = error.expect_err("the program exits 3").to_string();
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("why"), "{text}");
    }

    #[test]
    fn the_tail_is_the_end_of_the_text() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "    b\n    c\n");
    }
}
