//! The evaluator put to the test: frauds that are planted, and one true signal.
//!
//! README.md says what each of them is. Everything goes through the binary and real stores; only the
//! activations are made up, on the tokens of a tiny model.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod frauds;
mod openings;
mod planted;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use candor_model::Model;
use candor_schema::{Evaluation, Light, LightColour};

use crate::frauds::FRAUDS;
use crate::planted::World;

/// How a dialogue becomes text for the tiny model, which has no template of its own.
const TEMPLATE: &str = "{% for message in messages %}{{ message.role }}: {{ message.content }}<|eos|>{% endfor %}\
    {% if add_generation_prompt %}assistant: {% endif %}";

/// The command without settings from the environment, on one thread.
fn candor(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_candor"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CANDOR_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("NO_COLOR", "1").output().unwrap()
}

fn expect_ok(args: &[&str]) -> String {
    let output = candor(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "candor {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with a tiny model and the stores of a world.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(world: &World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder };
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/llama");
        let model = bench.at("model");
        std::fs::create_dir(&model).unwrap();
        for file in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ] {
            std::fs::copy(tiny.join(file), model.join(file)).unwrap();
        }
        std::fs::write(model.join("chat_template.jinja"), TEMPLATE).unwrap();
        let model = Model::open(&model).unwrap();
        for (name, replies) in [
            ("labelled", &world.labelled),
            ("ordinary", &world.ordinary),
            ("negatives", &world.negatives),
        ] {
            planted::write(&model, name, replies, &bench.at(name));
        }
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// Trains the bundle `probes/trap`, with further arguments.
    fn train(&self, probes: &str, more: &[&str]) {
        let (store, controls) = (self.path("labelled"), self.path("ordinary"));
        let out = self.path(probes);
        let args = [
            "train",
            &store,
            "--controls",
            &controls,
            "--name",
            "trap",
            "--out",
            &out,
        ];
        expect_ok(&[&args, more].concat());
    }

    /// Runs `candor evaluate` on that bundle, with further arguments.
    fn evaluated(&self, probes: &str, more: &[&str]) -> Output {
        let (probe, model) = (self.path(&format!("{probes}/trap")), self.path("model"));
        let (store, controls) = (self.path("labelled"), self.path("ordinary"));
        let args = [
            "evaluate",
            &probe,
            "--store",
            &store,
            "--controls",
            &controls,
            "--model",
            &model,
            "--seeds",
            "0",
            "--json",
        ];
        candor(&[&args, more].concat())
    }

    fn evaluate(&self, probes: &str, more: &[&str]) -> Evaluation {
        let output = self.evaluated(probes, more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn named(lights: &[Light], colour: LightColour) -> BTreeSet<&str> {
    let lights = lights.iter().filter(|light| light.colour == colour);
    lights.map(|light| light.check.as_str()).collect()
}

#[test]
fn each_fraud_turns_its_own_lights_red() {
    let mut wrong = String::new();
    for fraud in FRAUDS {
        let bench = Bench::new(&(fraud.plant)());
        bench.train("probes", &[]);
        (fraud.tamper)(&bench.at("probes/trap"));
        let negatives = bench.path("negatives");
        let evaluation = bench.evaluate("probes", &["--negatives", &negatives]);
        let red = named(&evaluation.lights, LightColour::Red);
        if red != fraud.red.iter().copied().collect() {
            writeln!(wrong, "{}: {red:?} for {:?}", fraud.name, fraud.red).unwrap();
            for light in &evaluation.lights {
                writeln!(
                    wrong,
                    "    {:?} {}: {}",
                    light.colour, light.check, light.found
                )
                .unwrap();
            }
        }
        if fraud.red.is_empty() {
            let green = named(&evaluation.lights, LightColour::Green);
            assert_eq!(green.len(), evaluation.lights.len(), "{}", fraud.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_light_has_its_fraud() {
    let bench = Bench::new(&World::true_signal());
    bench.train("probes", &[]);
    let negatives = bench.path("negatives");
    let evaluation = bench.evaluate("probes", &["--negatives", &negatives]);
    let mut lights = named(&evaluation.lights, LightColour::Green);
    for fraud in FRAUDS {
        for red in fraud.red {
            lights.remove(red);
        }
    }
    // The first is in `openings.rs`. For the second, candor itself would have to be wrong: its labels
    // are shuffled when it evaluates.
    let left = [
        "shuffled labels teach nothing",
        "the test split was opened once",
    ];
    assert_eq!(lights, left.into());
}

#[test]
fn the_readme_lists_every_fraud() {
    let readme = include_str!("README.md");
    for fraud in FRAUDS {
        let red = match fraud.red {
            [] => String::from("none"),
            red => red.join("; "),
        };
        let cells = (format!("| {} |", fraud.name), format!("| {red} |"));
        let line = readme.lines().find(|line| line.starts_with(&cells.0));
        assert!(
            line.is_some_and(|line| line.ends_with(&cells.1)),
            "{cells:?}"
        );
    }
}
