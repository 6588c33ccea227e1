//! The kill loop of profile `pod`: the supervisor is a subreaper, so every descendant stays below it, setsid or not.

use std::{collections::HashMap, fs, io};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::{Pid, getpid},
};

/// Rounds after which a tree that still grows is given up; each round kills all that it sees.
const MAX_ROUNDS: u32 = 1000;

/// Kills all descendants of the calling process and reaps them.
pub(super) async fn kill_descendants() -> io::Result<()> {
    for _ in 0..MAX_ROUNDS {
        let descendants = descendants()?;
        if descendants.is_empty() {
            return Ok(());
        }
        for pid in descendants {
            // Gone in the meantime is as good as killed.
            let _ = kill(pid, Signal::SIGKILL);
        }
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status.pid().is_none() {
                break;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    Err(io::Error::other("processes keep appearing"))
}

fn descendants() -> io::Result<Vec<Pid>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if let Some(parent) = fs::read_to_string(entry.path().join("stat"))
            .ok()
            .and_then(|stat| parent_in(&stat))
        {
            parents.insert(pid, parent);
        }
    }
    let me = getpid().as_raw();
    let below = |mut pid: i32| {
        while let Some(parent) = parents.get(&pid) {
            if *parent == me {
                return true;
            }
            pid = *parent;
        }
        false
    };
    Ok(parents
        .keys()
        .copied()
        .filter(|pid| below(*pid))
        .map(Pid::from_raw)
        .collect())
}

/// The parent in a line of `/proc/PID/stat`; the name in parentheses may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parent_in;

    #[test]
    fn a_hostile_process_name_does_not_hide_its_parent() {
        assert_eq!(parent_in("17 (a) R 99 (b) S 42 17 17 0"), Some(42));
        assert_eq!(parent_in("17 (cat"), None);
    }
}
