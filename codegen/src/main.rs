//! `chio-codegen`: writes `generated/`.
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let outputs = chio_codegen::generate(&root)?;
    for (path, text) in &outputs.files {
        let path = root.join("generated").join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&root))?;
        std::fs::write(path, text)?;
    }
    Ok(())
}
