//! The `chio` program. Everything it does is in [`cli`]; this file only answers with an exit code.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
