//! The tutorials' commands, run as the pages have them.

use std::path::Path;
use std::process::Command;

use crate::{model, root};

/// The blocks of a page that open with this line and close with three backticks.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        match (&mut open, line) {
            (None, line) if line == fence => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

#[test]
fn csv_to_report() {
    let Some(model) = model() else { return };
    let page = std::fs::read_to_string(root().join("docs/tutorials/csv-to-report.md")).unwrap();
    let commands = blocks(&page, "```sh");
    assert!(commands.len() >= 7, "{commands:#?}");
    // A folder that looks like the checkout, so that the commands can stand as they are.
    let folder = tempfile::tempdir().unwrap();
    for name in ["docs", "datasets"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_candor")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut said = String::new();
    for block in &commands {
        let mut shell = Command::new("sh");
        shell.args(["-euc", block]).current_dir(folder.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CANDOR_") {
                shell.env_remove(name);
            }
        }
        let output = shell
            .env("PATH", format!("{}:{path}", binary.display()))
            .env("CANDOR_MODEL_DIR", model.parent().unwrap())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{text}\n{stderr}");
        said.push_str(&text);
    }
    assert!(said.contains("24 dialogues in 24 scenarios"), "{said}");
    // What the page shows is what comes out.
    for line in blocks(&page, "```text")
        .iter()
        .flat_map(|block| block.lines())
    {
        assert!(said.contains(line), "`{line}` is not in: {said}");
    }
    let report = std::fs::read_to_string(folder.path().join("out/tutorial/report.html")).unwrap();
    assert!(report.contains("told-to-lie"));
}
