//! `chio capability keygen`: a holder needs a key of its own. It never leaves the file; what is handed to the issuer is
//! the public half.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::keys;
use crate::cli::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// File for the key; it must not exist [default: a new file in keys/ of the home folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    key_file: PathBuf,
    public_key: String,
}

impl Keygen {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let path = match self.out {
            Some(path) => path,
            None => home.ensure()?.join("keys").join(format!("holder-{}.key", uuid::Uuid::now_v7())),
        };
        let (key, new) = keys::create(&path)?;
        if !new {
            return Err(Failure::new(format_args!("the key file {} exists already", path.display()))
                .hint("a key is never overwritten; choose another file with --out"));
        }
        let report = Report { key_file: path, public_key: key.public().to_string() };
        let mut out = Output::new();
        if self.json {
            out.json(&report)?;
        } else {
            out.line(format!("key file    {}", report.key_file.display()))?;
            out.line(format!("public key  {}", report.public_key))?;
        }
        Ok(Answer::Yes)
    }
}
