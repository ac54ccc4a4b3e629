//! `chio-codegen`: writes `generated/`, or with `--check` compares it and fails on any difference.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Makes generated/ from spec/ and from the types of the configuration.

Usage: cargo run -p chio-codegen [-- --check]

  (no option)  write generated/, and remove what does not belong there
  --check      write nothing; print a diff and exit with 1 when generated/ is not what would be written";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let options: Vec<String> = std::env::args().skip(1).collect();
    let check = match options.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--check"] => true,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        _ => bail!("unknown options {options:?}\n\n{USAGE}"),
    };
    let root = root()?;
    let outputs = chio_codegen::generate(&root)?;
    if check {
        return Ok(match outputs.drift(&root)? {
            None => {
                println!("generated/ is up to date: {} files.", outputs.files.len());
                ExitCode::SUCCESS
            }
            Some(report) => {
                print!("{report}");
                ExitCode::FAILURE
            }
        });
    }
    let changes = outputs.write(&root)?;
    for path in &changes.written {
        println!("wrote generated/{path}");
    }
    for path in &changes.removed {
        println!("removed generated/{path}");
    }
    println!("generated/ is up to date: {} files.", outputs.files.len());
    Ok(ExitCode::SUCCESS)
}

/// The repository: cargo tells where this package stands in it; run by hand, it is the present folder.
fn root() -> Result<PathBuf> {
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => {
            Ok(PathBuf::from(package).parent().context("the package stands in no folder")?.to_owned())
        }
        None => std::env::current_dir().context("the present folder is gone"),
    }
}
