//! The container engine: Docker where its daemon answers, else podman with buildah.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::podman;
use crate::report::{capture, run};
use crate::tools::on_path;
use crate::workspace;

/// What builds and runs images on this machine.
pub struct Engine {
    kind: Kind,
}

enum Kind {
    Docker,
    /// The settings that it runs with; none: the machine's own.
    Podman(Option<PathBuf>),
}

/// One build of the repository's Dockerfile.
pub struct Build<'a> {
    pub target: &'a str,
    pub tag: &'a str,
    pub arguments: &'a [(String, String)],
}

impl Engine {
    /// Docker when its daemon and buildx answer; else podman, installed first where this is root on Debian.
    pub fn find() -> Result<Self> {
        let docker = ["version", "buildx"].iter().all(|word| {
            let mut command = Command::new("docker");
            let arguments: &[&str] = if *word == "version" {
                &["version"]
            } else {
                &["buildx", "version"]
            };
            quiet(command.args(arguments))
        });
        let kind = if docker {
            Kind::Docker
        } else {
            Kind::Podman(podman::prepare()?)
        };
        Ok(Self { kind })
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Docker => "docker buildx",
            Kind::Podman(_) => "buildah and podman",
        }
    }

    /// Whether bases must be there before a build, because a missing one is made here.
    pub fn is_podman(&self) -> bool {
        matches!(self.kind, Kind::Podman(_))
    }

    /// The engine with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = match self.kind {
            Kind::Docker => "docker",
            Kind::Podman(_) => "podman",
        };
        self.with_settings(program, arguments)
    }

    /// Builds one target of the repository's Dockerfile.
    pub fn build(&self, build: &Build) -> Result<()> {
        let mut command = self.builder();
        command.args(["--target", build.target, "--tag", build.tag]);
        for (name, value) in build.arguments {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        run(command
            .arg(".")
            .current_dir(workspace::root())
            .stdin(Stdio::null()))
    }

    /// The program that builds, with the flags of its kind; the caller adds what to build.
    pub fn builder(&self) -> Command {
        match self.kind {
            Kind::Docker => self.with_settings("docker", &["buildx", "build", "--load"]),
            Kind::Podman(_) => {
                // The OCI format has no place for a HEALTHCHECK; chroot needs no right to make namespaces.
                let flags = ["--isolation=chroot", "--layers", "--format=docker"];
                let (program, word) = match on_path("buildah") {
                    Some(_) => ("buildah", "bud"),
                    None => ("podman", "build"),
                };
                let mut command = self.with_settings(program, &[word]);
                command.args(flags);
                command
            }
        }
    }

    pub fn has_image(&self, name: &str) -> bool {
        quiet(&mut self.command(&["image", "inspect", name]))
    }

    /// One value of an image, as a Go template names it.
    pub fn image(&self, name: &str, template: &str) -> Result<String> {
        let text = capture(&mut self.command(&["image", "inspect", "--format", template, name]))?;
        Ok(text.trim().to_owned())
    }

    /// What a program of the image prints.
    pub fn output_of(&self, image: &str, program: &str, arguments: &[&str]) -> Result<String> {
        let flags = ["run", "--rm", "--network=none", "--entrypoint", program, image];
        capture(self.command(&flags).args(arguments))
    }

    /// Whether a container's own HEALTHCHECK passes. podman has no timer without systemd, so it is asked to run the
    /// check now; Docker runs it by itself and tells the result.
    pub fn is_healthy(&self, container: &str) -> Result<bool> {
        match self.kind {
            Kind::Docker => {
                let ask = ["inspect", "--format", "{{.State.Health.Status}}", container];
                Ok(capture(&mut self.command(&ask))?.trim() == "healthy")
            }
            Kind::Podman(_) => Ok(quiet(&mut self.command(&["healthcheck", "run", container]))),
        }
    }

    fn with_settings(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        if let Kind::Podman(Some(file)) = &self.kind {
            command.env("CONTAINERS_CONF", file);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }
}

/// Whether a program runs and ends well; what it prints is of no interest.
pub fn quiet(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
