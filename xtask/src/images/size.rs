//! How large each image is, against its budget.

use anyhow::{Context, Result, bail};

use super::command_lines;
use super::engine::Engine;
use super::manifest::Image;
use super::tag;

const MEGA: u64 = 1_000_000;

/// Prints a table; an error names every image that is over its budget. The command lines are their vendors' and
/// counted apart: how many of them are in an image depends on what could be had.
pub fn check(engine: &Engine, images: &[&Image]) -> Result<()> {
    println!(
        "{:<14} {:>8} {:>14} {:>8} {:>8}",
        "image", "MB", "command lines", "rest", "budget"
    );
    let mut over = Vec::new();
    for image in images {
        let name = tag(&image.name);
        let whole = engine.image(&name, "{{.Size}}")?;
        let whole: u64 = whole.parse().with_context(|| format!("size of {name}"))?;
        let tools = if image.tools {
            command_lines::bytes_in_image(engine, &name)?
        } else {
            0
        };
        let rest = whole.saturating_sub(tools);
        println!(
            "{:<14} {:>8} {:>14} {:>8} {:>8}",
            image.name,
            rounded(whole),
            rounded(tools),
            rounded(rest),
            image.budget_mb
        );
        if rest > image.budget_mb * MEGA {
            over.push(format!(
                "{} has {} MB, its budget is {}",
                image.name,
                rounded(rest),
                image.budget_mb
            ));
        }
    }
    if !over.is_empty() {
        bail!("over budget (xtask/images.toml): {}", over.join("; "));
    }
    Ok(())
}

fn rounded(bytes: u64) -> u64 {
    bytes.div_ceil(MEGA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(
            (rounded(0), rounded(1), rounded(MEGA), rounded(MEGA + 1)),
            (0, 1, 1, 2)
        );
    }
}
