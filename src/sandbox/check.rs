//! What a job may not ask for, whoever asks.

use std::path::{Component, Path};

use super::{Error, Job};

/// Folders of the system, and those that a sandbox makes itself: none of them, nor what holds one, is a mount.
const SYSTEM: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/root/.ssh",
    "/run",
    "/var/run",
    "/job",
    "/host",
];

/// Variables that would undo what the sandbox sets, or load code into its programs.
const RESERVED: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
];

/// Refuses a job that is malformed, or whose folders are not there to be seen.
pub(super) fn job(job: &Job) -> Result<(), Error> {
    job_elsewhere(job)?;
    job.mounts
        .iter()
        .try_for_each(|mount| mount_exists(&mount.path).map_err(Error::Invalid))
}

/// As [`job`], for a job whose folders lie on another machine.
pub(super) fn job_elsewhere(job: &Job) -> Result<(), Error> {
    let invalid = |what: String| Err(Error::Invalid(what));
    if job.commands.is_empty() {
        return invalid("no commands".to_owned());
    }
    for command in &job.commands {
        if command.argv.first().is_none_or(String::is_empty) || command.argv.iter().any(|a| a.contains('\0'))
        {
            return invalid("a command needs a program, and no argument may hold a NUL".to_owned());
        }
    }
    for (name, value) in &job.env {
        let reserved =
            RESERVED.contains(&name.as_str()) || ["LD_", "GIT_"].iter().any(|p| name.starts_with(p));
        // Whom git believes is the router's to say, as long as it lies in the job's own folder.
        let authority = name == "GIT_SSL_CAINFO" && value.strip_prefix("{{job_dir}}/").is_some_and(is_inside);
        if reserved && !authority || name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return invalid(format!("variable {name:?} is not for a job to set"));
        }
    }
    for file in &job.files {
        if !is_inside(&file.path) {
            return invalid(format!("file {:?} is not inside of the job's folder", file.path));
        }
    }
    for mount in &job.mounts {
        mount_path(&mount.path).map_err(Error::Invalid)?;
    }
    let limits = &job.limits;
    let positive = [
        u64::from(limits.timeout_secs),
        limits.memory_bytes,
        limits.processes.into(),
        limits.file_bytes,
        limits.cpu_secs.into(),
    ];
    if positive.contains(&0) {
        return invalid("a limit of zero".to_owned());
    }
    Ok(())
}

fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

fn mount_path(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let plain = path.is_absolute()
        && path
            .components()
            .skip(1)
            .all(|part| matches!(part, Component::Normal(_)));
    let system = SYSTEM
        .iter()
        .any(|dir| path.starts_with(dir) || Path::new(dir).starts_with(path));
    if !plain || system || path.parent().is_none() {
        return Err(format!("folder {shown} is not for a job to see"));
    }
    Ok(())
}

/// A link in the path would mount another place than the one that was named.
fn mount_exists(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match path.canonicalize() {
        Ok(real) if real == path && real.is_dir() => Ok(()),
        Ok(_) => Err(format!("folder {shown} is not a plain folder")),
        Err(e) => Err(format!("folder {shown}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretSlice;
    use uuid::Uuid;

    use super::super::{Command, JobFile, Mount};
    use super::*;

    fn refuses(change: impl FnOnce(&mut Job)) {
        let mut plain = Job::new(Uuid::nil(), vec![Command::new(["true"])]);
        assert!(super::job(&plain).is_ok());
        change(&mut plain);
        assert!(matches!(super::job(&plain), Err(Error::Invalid(_))), "{plain:?}");
    }

    #[test]
    fn what_a_job_may_not_ask_for_is_refused() {
        refuses(|job| job.commands.clear());
        refuses(|job| job.commands[0].argv.clear());
        for name in ["LD_PRELOAD", "GIT_CONFIG_COUNT", "PATH", "HTTPS_PROXY", "A=B", ""] {
            refuses(|job| drop(job.env.insert(name.to_owned(), String::new())));
        }
        for elsewhere in ["/etc/ssl/cert.pem", "{{job_dir}}/../x", "x"] {
            refuses(|job| drop(job.env.insert("GIT_SSL_CAINFO".to_owned(), elsewhere.to_owned())));
        }
        let mut own = Job::new(Uuid::nil(), vec![Command::new(["true"])]);
        let inside = "{{job_dir}}/git/authority.pem".to_owned();
        own.env.insert("GIT_SSL_CAINFO".to_owned(), inside);
        assert!(super::job(&own).is_ok());
        for path in ["../up", "/etc/passwd", "a/../../b", "", "./a/./../x"] {
            refuses(|job| {
                job.files.push(JobFile {
                    path: path.to_owned(),
                    contents: SecretSlice::from(vec![]),
                    secret: false,
                });
            });
        }
        for path in [
            "/",
            "/etc",
            "/proc/self",
            "/usr/lib",
            "relative",
            "/tmp/../etc",
            "/run",
            "/no-such-folder",
        ] {
            refuses(|job| {
                job.mounts.push(Mount {
                    path: path.into(),
                    writable: true,
                });
            });
        }
        refuses(|job| job.limits.timeout_secs = 0);
    }
}
