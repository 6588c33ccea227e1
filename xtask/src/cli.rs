//! The command line of `cargo xtask`, as types.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The project's front door. CI calls the same commands that people do.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// The real servers and tools that tests run against: list, fetch, say where one is
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// A real Kubernetes API with simulated nodes
    #[command(subcommand)]
    Kube(KubeCommand),
    /// Import ranks, fences, names, banned text, file lengths, migrations
    Tidy,
    /// Run the test suite; with --real the end-to-end tests against the real servers
    Test {
        /// Fetch the real servers, start a cluster and run tests/e2e
        #[arg(long)]
        real: bool,
        /// Run only tests whose name contains one of these
        filter: Vec<String>,
    },
    /// Everything CI checks: format, tidy, clippy, generated files, tests
    Ci {
        /// Only what needs no build of the product: format and tidy
        #[arg(long)]
        quick: bool,
    },
    /// Clippy with the security lints; licences, banned crates and sources of the dependencies
    Lint {
        /// Known vulnerabilities too: fetches the advisory database
        #[arg(long)]
        advisories: bool,
    },
    /// Which lines the suite runs; fails below the floor of coverage.toml
    Coverage {
        /// Where summary.md, summary.json and lcov.info go; under the target folder otherwise
        #[arg(long)]
        out: Option<PathBuf>,
        /// Write what was measured as the new floor
        #[arg(long)]
        raise: bool,
    },
    /// The workflows under .github: actionlint and zizmor
    Workflows,
    /// Write the files that the program itself describes
    Gen {
        /// Write nothing; fail when a file is not what it would be
        #[arg(long)]
        check: bool,
    },
    /// The query cache, and the migrations' linter
    #[command(subcommand)]
    Db(DbCommand),
    /// The policy rules under OPA: format, strict check, tests, fixtures
    Policy,
    /// Measure beside the machine's own limits: `--only GROUP…`, `--quick`, `--full`, `--json FILE`; `-- --help` says more
    Bench {
        /// For the measuring program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Write .sqlx anew from a migrated database (DATABASE_URL, else one of its own)
    Prepare,
    /// The migrations under squawk, the linter for Postgres migrations
    Lint,
}

#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// What is there, and where
    List,
    /// Build or install what is missing
    Fetch {
        /// Names of tools or of their programs, or `all`
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print the path of one program, fetching it when needed
    Path { name: String },
}

#[derive(Debug, Subcommand)]
pub enum KubeCommand {
    /// Start a cluster in a folder and leave it running
    Up {
        /// A new or empty folder: kubeconfig, logs and data go there
        folder: PathBuf,
        /// The API server's port on 127.0.0.1; a free one otherwise
        #[arg(long)]
        port: Option<u16>,
    },
    /// End the cluster of a folder
    Down { folder: PathBuf },
    /// Run a command with a cluster of its own (KUBECONFIG set), which ends with it
    Run {
        #[arg(required = true, last = true)]
        command: Vec<std::ffi::OsString>,
    },
}
