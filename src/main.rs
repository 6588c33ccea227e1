//! The one executable: parse, run, exit code; nothing else.

use std::process::ExitCode;

/// A request makes some hundred small pieces of memory; the C library's allocator takes twice as long over them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The sandbox's stages run this executable again; they must begin before any thread exists.
    if let Some(code) = carapulse::sandbox::child_main_if_asked() {
        return code;
    }
    carapulse::cli::main()
}
