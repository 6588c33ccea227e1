//! The one executable: parse, run, exit code; nothing else.

fn main() -> std::process::ExitCode {
    carapulse::cli::main()
}
