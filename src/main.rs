//! The one executable: parse, run, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox's stages run this executable again; they must begin before any thread exists.
    if let Some(code) = carapulse::sandbox::child_main_if_asked() {
        return code;
    }
    carapulse::cli::main()
}
