//! The `chio` program. Everything it does is in [`cli`]; this file only answers with an exit code.

mod cli;

/// Calls allocate on one thread and free on another, which the system's allocator pays for with locks and system calls.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
