//! Writes the report of an evaluation, without the command-line tool:
//!
//! ```sh
//! CANDOR_REPORT_OUT=out cargo run -p candor-report --example render -- eval.json
//! ```
//!
//! Without an argument it takes the example that the tests are made on.

use std::path::PathBuf;
use std::{env, fs};

use candor_report::{Theme, heat_map_svg, html, markdown_table, parse};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/report/evaluation.json"
    );
    let input = env::args().nth(1).unwrap_or_else(|| example.to_owned());
    let folder = env::var_os("CANDOR_REPORT_OUT").ok_or("set `CANDOR_REPORT_OUT` to a folder")?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;

    let evaluation = parse(&fs::read_to_string(input)?)?;
    fs::write(folder.join("report.html"), html(&evaluation))?;
    fs::write(folder.join("results.md"), markdown_table(&evaluation))?;
    for (name, theme) in [("light", Theme::Light), ("dark", Theme::Dark)] {
        let svg = heat_map_svg(&evaluation.traces, theme);
        fs::write(folder.join(format!("heat-map-{name}.svg")), svg)?;
    }
    Ok(())
}
