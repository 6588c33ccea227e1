//! The command line of `cargo xtask`, as types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
        /// Only the dependencies, which takes seconds
        #[arg(long)]
        dependencies: bool,
    },
    /// Archives, and whether a tag may be released
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Every row of docs/audit.md: proved, failed, or not run and why
    Delivery(DeliveryOptions),
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
    /// The Helm chart: lint, snapshots, schemas, policies, an installation on a real API server
    #[command(subcommand)]
    Chart(ChartCommand),
    /// The Compose files: held to their rules, and brought up for real
    #[command(subcommand)]
    Compose(ComposeCommand),
    /// Dashboards and alert rules: only exported metrics are named, and each alert fires when it should
    Observability,
    /// The policy rules under OPA: format, strict check, tests, fixtures
    Policy,
    /// The five container images; with no command: build all, then run each one's health check
    Images {
        /// This machine reaches package registries only: stand-ins for the bases, and of the command lines what
        /// docker/tools/local has
        #[arg(long, global = true)]
        packages_only: bool,
        #[command(subcommand)]
        command: Option<ImagesCommand>,
    },
    /// Measure beside the machine's own limits: `--only GROUP…`, `--quick`, `--full`, `--json FILE`; `-- --help` says more
    Bench {
        /// For the measuring program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ChartCommand {
    /// `helm lint --strict` over the matrix of values, and the values that must be refused
    Lint,
    /// What the matrix renders to, beside what was checked in
    Snapshot {
        /// Write it anew
        #[arg(long)]
        update: bool,
    },
    /// What the matrix renders to is valid for several versions of Kubernetes
    Conform,
    /// The program reads the configuration that is rendered for each role
    Config,
    /// Who could reach whom, worked out from the network policies
    Reach,
    /// The generated files: table of values, schema, dashboards, alerts
    Docs {
        /// Write nothing; fail when a file is not what it would be
        #[arg(long)]
        check: bool,
    },
    /// Install, upgrade, roll back on a real API server with simulated nodes
    Install,
    /// Run the rendered pods with podman and the real images
    Pods {
        /// The tag of the images localhost/carapulse/<role>
        #[arg(long, default_value = "dev")]
        tag: String,
    },
    /// Everything but `pods`
    All,
}

#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    /// Build them, as localhost/carapulse/<role>:dev
    Build {
        /// Only these
        targets: Vec<String>,
    },
    /// Start each as it is shipped until its own HEALTHCHECK passes; then their sizes
    Check {
        /// Only these
        targets: Vec<String>,
    },
    /// Their sizes against their budgets
    Size,
    /// Put into docker/tools/local the command lines that this machine can give
    Tools,
    /// Compile the same sources in two folders and compare the executables
    Reproduce {
        /// The dependencies as well
        #[arg(long)]
        full: bool,
    },
    /// Append to the bases' tags the digests that their registry gives
    Pin,
    /// What must be true of the Dockerfile; needs no container engine
    Lint,
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Write .sqlx anew from a migrated database (DATABASE_URL, else one of its own)
    Prepare,
    /// The migrations under squawk, the linter for Postgres migrations
    Lint,
}

#[derive(Debug, Subcommand)]
pub enum ComposeCommand {
    /// All files and profiles under `docker compose config`, and under the rules of docs/compose.md
    Config,
    /// Bring the stack up on this machine's engine and leave it running
    Up,
    /// Bring the stack up in a project of its own, play a plan through it, try its networks, and take it down
    Smoke {
        /// Leave it running
        #[arg(long)]
        keep: bool,
        /// Where the roles' images are: REGISTRY/ROLE:TAG
        #[arg(long, default_value = "localhost/carapulse", value_name = "REGISTRY")]
        registry: String,
        /// The roles' images' tag
        #[arg(long, default_value = "dev")]
        tag: String,
    },
    /// Take down what `up` or `smoke --keep` left, with its volumes
    Down,
    /// Write compose/compose.digests.yaml: every image by its digest; needs the registries
    Pin,
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

#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Build for one platform and pack it
    Archive {
        /// A Rust target triple that this machine can build for
        #[arg(long)]
        target: String,
        /// The folder for the archive
        #[arg(long)]
        out: PathBuf,
    },
    /// Whether crate, chart and changelog agree with a tag
    Check { tag: String },
    /// One version's part of CHANGELOG.md
    Notes { version: String },
}

#[derive(Debug, Clone, Args)]
pub struct DeliveryOptions {
    /// Only what takes seconds or few minutes
    #[arg(long)]
    pub quick: bool,
    /// Only what is read from files: runs no command
    #[arg(long, conflicts_with = "quick")]
    pub files: bool,
    /// Only rows whose id begins with this
    #[arg(long)]
    pub only: Option<String>,
    /// Write the table of docs/audit.md anew and prove nothing
    #[arg(long)]
    pub write: bool,
    /// This machine reaches package registries only: images are built and run as `images --packages-only` does
    #[arg(long)]
    pub packages_only: bool,
}
