//! What the compiler and the linters are told to refuse.

use anyhow::{Context, Result, bail};
use toml::Value;

/// The workspace forbids `unsafe`, and every package takes the workspace's lints.
pub fn unsafe_is_forbidden(workspace: &str, packages: &[(&str, &str)]) -> Result<()> {
    let root: Value = toml::from_str(workspace).context("Cargo.toml")?;
    let level = lookup(&root, &["workspace", "lints", "rust", "unsafe_code"]).and_then(Value::as_str);
    if level != Some("forbid") {
        bail!("the workspace does not forbid `unsafe`: {level:?}");
    }
    let lock = lookup(&root, &["workspace", "lints", "clippy", "await_holding_lock"]).and_then(Value::as_str);
    if lock != Some("deny") {
        bail!("a lock may be held across an await: {lock:?}");
    }
    for (name, text) in packages {
        let package: Value = toml::from_str(text).with_context(|| (*name).to_owned())?;
        let inherits = lookup(&package, &["lints", "workspace"]).and_then(Value::as_bool);
        if inherits != Some(true) {
            bail!("{name} does not take the workspace's lints");
        }
    }
    Ok(())
}

fn lookup<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace.lints.rust]\nunsafe_code = 'forbid'\n[workspace.lints.clippy]\nawait_holding_lock = 'deny'\n[lints]\nworkspace = true\n";

    #[test]
    fn unsafe_that_is_only_warned_about_or_a_package_with_lints_of_its_own_is_found() {
        assert!(unsafe_is_forbidden(ROOT, &[("Cargo.toml", ROOT)]).is_ok());
        assert!(unsafe_is_forbidden(&ROOT.replace("forbid", "warn"), &[]).is_err());
        assert!(unsafe_is_forbidden(&ROOT.replace("deny", "allow"), &[]).is_err());
        assert!(unsafe_is_forbidden(ROOT, &[("x", "[package]\nname = 'x'\n")]).is_err());
    }
}
