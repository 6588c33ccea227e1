//! `cargo xtask tools`: the real servers and tools that tests run against.
//!
//! In: names from `xtask/tools.toml`. Out: paths of programs that run and have a version that suits, from PATH
//! where good enough, else from the cache, else built or installed into it.
//! Always: one process fetches a tool at a time (a lock file a tool); a tool appears in the cache whole or not at
//! all (built aside, then renamed); what cannot be had is named with the reason.
//! Not here: starting any of them (`kube`, the end-to-end tests).

pub mod apt;
mod golang;
mod manifest;
mod python;
pub mod version;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::ToolsCommand;
use crate::report::{say, step};
use manifest::{Binary, Kind, Tool};

/// Runs `xtask tools …`.
pub fn run(command: &ToolsCommand) -> Result<()> {
    match command {
        ToolsCommand::List => list(),
        ToolsCommand::Fetch { names } => fetch(names),
        ToolsCommand::Path { name } => print_path(name),
    }
}

/// The path of one program (or joined file), fetching it first when needed.
pub fn ensure(name: &str) -> Result<PathBuf> {
    let tools = manifest::load()?;
    let chosen = manifest::select(&tools, &[name.to_owned()])?;
    let tool = chosen.first().context("a name selects at least one tool")?;
    let cache = Cache::open()?;
    if let Some(path) = cache.find(tool, name) {
        return Ok(path);
    }
    cache
        .fetch(tool)
        .with_context(|| format!("`{name}` is missing"))?;
    cache
        .find(tool, name)
        .ok_or_else(|| anyhow!("`{name}` is missing even after fetching `{}`", tool.name))
}

/// Fetches every tool of `names`; the error lists each that cannot be had, with the reason.
pub fn fetch(names: &[String]) -> Result<()> {
    let tools = manifest::load()?;
    let cache = Cache::open()?;
    let mut missing = Vec::new();
    for tool in manifest::select(&tools, names)? {
        if cache.is_complete(tool) {
            say(&format!("{} {}: already there", tool.name, tool.version));
            continue;
        }
        let fetched = step(
            &format!("fetching {} {} ({})", tool.name, tool.version, tool.why),
            || cache.fetch(tool),
        );
        if let Err(error) = fetched {
            missing.push(format!("  {} {}: {error:#}", tool.name, tool.version));
        }
    }
    if !missing.is_empty() {
        bail!("missing:\n{}", missing.join("\n"));
    }
    Ok(())
}

/// The text of one file of a published Go module.
pub fn module_file(module: &str, version: &str, path: &str) -> Result<String> {
    let name = format!(
        ".scratch-{}-{version}-{}",
        module.replace('/', "-"),
        std::process::id()
    );
    let scratch = Removed::new(Cache::open()?.0.join(name))?;
    golang::module_file(module, version, path, &scratch.0)
}

/// The folder of a Go tool's module, as published; the module cache has it after the tool was built.
pub fn module_folder(name: &str) -> Result<PathBuf> {
    let tools = manifest::load()?;
    let chosen = manifest::select(&tools, &[name.to_owned()])?;
    golang::module_folder(chosen.first().context("a name selects at least one tool")?)
}

/// The first executable file of this name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(executable)
}

/// `${XDG_CACHE_HOME:-$HOME/.cache}/carapulse`
pub fn cache_root() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("carapulse"))
}

fn list() -> Result<()> {
    let cache = Cache::open()?;
    for tool in manifest::load()? {
        for name in tool.products() {
            let place = match cache.find(&tool, name) {
                Some(path) => path.display().to_string(),
                None => format!("not there; `cargo xtask tools fetch {}` gets it", tool.name),
            };
            println!("{name:<26} {:<8} {place}", tool.version);
        }
    }
    Ok(())
}

fn print_path(name: &str) -> Result<()> {
    println!("{}", ensure(name)?.display());
    Ok(())
}

/// The folder that holds fetched tools: `<tool>/<version>/<product>`.
struct Cache(PathBuf);

impl Cache {
    fn open() -> Result<Self> {
        let root = cache_root()?.join("tools");
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self(root))
    }

    /// Where a product is, when it is there and its version suits. The cache goes before PATH: its version is exact.
    fn find(&self, tool: &Tool, product: &str) -> Option<PathBuf> {
        let cached = self.home(tool).join(product);
        if cached.is_file() {
            return Some(cached);
        }
        let binary = tool.binaries.iter().find(|binary| binary.name == product)?;
        let min = version::parse(tool.path_min.as_deref()?)?;
        suitable_on_path(binary, min)
    }

    fn is_complete(&self, tool: &Tool) -> bool {
        tool.products()
            .iter()
            .all(|product| self.find(tool, product).is_some())
    }

    fn fetch(&self, tool: &Tool) -> Result<()> {
        let _lock = self.lock(tool)?;
        if self.is_complete(tool) {
            return Ok(());
        }
        match tool.kind {
            Kind::Apt => apt::install(tool)?,
            Kind::Pip => python::install(tool, &self.home(tool))?,
            Kind::GoBuild | Kind::GoInstall | Kind::GoSource => self.build(tool)?,
        }
        if !self.is_complete(tool) {
            bail!(
                "`{}` was fetched, yet not all of {} is there with a suitable version",
                tool.name,
                tool.products().join(", ")
            );
        }
        Ok(())
    }

    fn build(&self, tool: &Tool) -> Result<()> {
        // Under the tool's lock nobody else uses these folders: what is left of a killed run goes first.
        let stage = Removed::new(self.0.join(format!(".stage-{}", tool.name)))?;
        let scratch = Removed::new(self.0.join(format!(".scratch-{}", tool.name)))?;
        golang::build(tool, &stage.0, &scratch.0)?;
        let home = self.home(tool);
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        fs::create_dir_all(home.parent().context("a tool's folder has a parent")?)?;
        fs::rename(&stage.0, &home).with_context(|| format!("cannot move the build to {}", home.display()))
    }

    fn lock(&self, tool: &Tool) -> Result<File> {
        let file = File::create(self.0.join(format!("{}.lock", tool.name)))?;
        if file.try_lock().is_err() {
            say(&format!("{}: another process is fetching it; waiting", tool.name));
            file.lock()?;
        }
        Ok(file)
    }

    fn home(&self, tool: &Tool) -> PathBuf {
        self.0.join(&tool.name).join(&tool.version)
    }
}

fn suitable_on_path(binary: &Binary, min: version::Version) -> Option<PathBuf> {
    let names = std::iter::once(&binary.name).chain(&binary.also);
    let mut found = names.filter_map(|name| on_path(name));
    found
        .find(|path| version::of_program(path, &binary.probe).is_some_and(|found| version::suits(found, min)))
}

/// An empty folder that is gone when this is dropped.
struct Removed(PathBuf);

impl Removed {
    fn new(path: PathBuf) -> Result<Self> {
        remove_tree(&path);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        remove_tree(&self.0);
    }
}

fn remove_tree(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        say(&format!("cannot remove {}: {error}", path.display()));
    }
}
