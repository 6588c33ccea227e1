//! The rules that `cargo xtask tidy` checks, as tables. This file is their documentation.
//!
//! Ranks, fences and bans concern the code that ships: `#[cfg(test)]` modules and files named `tests.rs` may
//! import what they need. Banned words, names and lengths hold everywhere.

/// Who may import whom: a top-level module of `src/` may use modules of lower ranks only.
pub const RANKS: &[&[&str]] = &[
    /* 0 */ &["domain"],
    /* 1 */ &["store", "connectors", "llm"],
    /* 2 */ &["audit", "policy", "notify"],
    /* 3 */ &["warrant", "sandbox", "shadow"],
    /* 4 */ &["tools"],
    /* 5 */
    &[
        "intake",
        "context",
        "diagnose",
        "plan",
        "approval",
        "investigation",
        "verify",
        "execution",
    ],
    /* 6 */ &["gateway", "agent"],
    /* 7 */ &["config", "roles"],
    /* 8 */ &["cli", "main", "lib"],
];

/// In this rank, the order of the stages, a module may also use those to its left.
pub const ORDERED_RANK: usize = 5;

/// Modules that may use less than their rank would let them.
pub const ONLY: &[(&str, &[&str])] = &[
    ("policy", &["domain"]),
    ("sandbox", &["domain"]),
    ("agent", &["domain"]),
];

/// Composition: uses that the ranks would forbid, each with its reason.
pub const COMPOSITION: &[(&str, &str, &str)] = &[
    ("roles", "config", "a role is started from its configuration"),
    (
        "policy",
        "store",
        "bundles and decisions are rows: policy/store.rs",
    ),
    (
        "policy",
        "audit",
        "moving the pointer to the active bundle is audited in its own transaction",
    ),
    ("main", "cli", "main parses and runs the command line"),
    ("lib", "*", "the crate's root declares every module"),
];

/// Code that may be named in some places only.
pub struct Fence {
    /// Paths as they are written in the code; matched as whole words.
    pub words: &'static [&'static str],
    /// A file's path begins with one of these, or it has one of these names.
    pub under: &'static [&'static str],
    pub named: &'static [&'static str],
    pub instead: &'static str,
}

pub const FENCES: &[Fence] = &[
    Fence {
        words: &["sqlx"],
        under: &["src/store/"],
        named: &["store.rs"],
        instead: "SQL lives in a stage's store.rs or under src/store/; call its functions",
    },
    Fence {
        words: &["axum"],
        under: &["src/gateway/", "src/agent/"],
        named: &["server.rs"],
        instead: "HTTP serving lives in src/gateway/, src/agent/ and in files named server.rs",
    },
    Fence {
        words: &["regorus"],
        under: &["src/policy/engine.rs"],
        named: &[],
        instead: "ask policy::decide; only src/policy/engine.rs knows the engine",
    },
    Fence {
        words: &["process::Command", "tokio::process"],
        under: &["src/sandbox/", "src/store/embedded", "src/cli/demo"],
        named: &[],
        instead: "processes are started by the sandbox, by src/store/embedded and by the demo only",
    },
    Fence {
        words: &["anyhow"],
        under: &[
            "src/cli/",
            "src/cli.rs",
            "src/roles/",
            "src/roles.rs",
            "src/main.rs",
        ],
        named: &[],
        instead: "use a typed error (thiserror); anyhow is for cli, roles, xtask and tests",
    },
];

/// Names that say nothing: no module and no file is called so.
pub const BANNED_MODULES: &[&str] = &[
    "util", "utils", "common", "helpers", "misc", "shared", "manager", "core",
];

/// Text that must not be in the repository.
pub struct BannedText {
    pub text: &'static str,
    pub look: Look,
    /// Files (whole paths, or folders ending in `/`) that may hold it.
    pub except: &'static [&'static str],
    pub instead: &'static str,
}

/// Where a banned text is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Rust code, without comments and the insides of string literals.
    Code,
    /// Rust files, comments included; as a whole word.
    RustWord,
    /// Every text file that git knows.
    Everywhere,
}

const HOSTS: &str = "name the registry's client or let its configuration decide, never a host";

pub const BANNED_TEXT: &[BannedText] = &[
    code("todo!", "write it, or leave it out"),
    code("unimplemented!", "write it, or leave it out"),
    code(
        "#[ignore",
        "make the test pass everywhere, or give it a command of its own",
    ),
    code("#[allow(", "use #[expect(…, reason = \"…\")]"),
    code("#![allow(", "use #![expect(…, reason = \"…\")]"),
    BannedText {
        text: "Utc::now",
        look: Look::Code,
        except: &["src/domain/clock.rs"],
        instead: "take the time from OpCtx or Clock, so that tests can move it",
    },
    word(concat!("FIX", "ME"), "mend it, or file an issue"),
    word(concat!("XX", "X"), "mend it, or file an issue"),
    everywhere(
        concat!("/wo", "rk/"),
        "no path of one machine belongs into the repository",
    ),
    everywhere(
        concat!("../sha", "red"),
        "no path of one machine belongs into the repository",
    ),
    everywhere(concat!("proxy.go", "lang.org"), HOSTS),
    everywhere(concat!("sum.go", "lang.org"), HOSTS),
    everywhere(concat!("index.cra", "tes.io"), HOSTS),
    everywhere(concat!("static.cra", "tes.io"), HOSTS),
    everywhere(concat!("registry.npm", "js.org"), HOSTS),
    everywhere(concat!("py", "pi.org"), HOSTS),
    everywhere(concat!("files.python", "hosted.org"), HOSTS),
    everywhere(concat!("repo1.ma", "ven.org"), HOSTS),
    everywhere(concat!("repo.ma", "ven.apache.org"), HOSTS),
    everywhere(concat!("deb.deb", "ian.org"), HOSTS),
];

/// No Rust file is longer than this many lines.
pub const MAX_LINES: usize = 500;

/// Every `migrations/up/V<n>__name.sql` has a `migrations/down/V<n>__name.sql`; `n` counts 1, 2, 3 without gaps.
pub const MIGRATIONS_UP: &str = "migrations/up/";
pub const MIGRATIONS_DOWN: &str = "migrations/down/";

const fn code(text: &'static str, instead: &'static str) -> BannedText {
    BannedText {
        text,
        look: Look::Code,
        except: &[],
        instead,
    }
}

const fn word(text: &'static str, instead: &'static str) -> BannedText {
    BannedText {
        text,
        look: Look::RustWord,
        except: &[],
        instead,
    }
}

const fn everywhere(text: &'static str, instead: &'static str) -> BannedText {
    BannedText {
        text,
        look: Look::Everywhere,
        except: &["Cargo.lock"],
        instead,
    }
}
