//! The test split is opened once for probes of one name, or it says so.

use std::path::Path;

use candor_probe::Bundle;
use candor_schema::{Light, LightColour};

use crate::planted::World;
use crate::{Bench, expect_ok};

fn light(lights: &[Light]) -> (LightColour, &str) {
    let check = "the test split was opened once";
    let light = lights.iter().find(|light| light.check == check).unwrap();
    (light.colour, &light.found)
}

/// What an evaluation that is refused says.
fn refused(bench: &Bench, probes: &str, more: &[&str], code: i32) -> String {
    let output = bench.evaluated(probes, more);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

fn n_lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn the_test_split_is_opened_once_or_says_so() {
    let bench = Bench::new(&World::true_signal());
    let ledgers = ["labelled", "probes/trap"].map(|name| bench.at(name).join("openings.jsonl"));
    bench.train("probes", &[]);

    // Validation is no opening.
    let evaluation = bench.evaluate("probes", &["--split", "validation"]);
    assert!(evaluation.openings.is_uncounted());
    assert_eq!(light(&evaluation.lights).0, LightColour::Grey);
    assert!(ledgers.iter().all(|ledger| !ledger.exists()));

    // What fails before there is anything to see is none either.
    let broken = bench.path("ordinary");
    refused(&bench, "probes", &["--negatives", &broken], 3);
    assert!(ledgers.iter().all(|ledger| !ledger.exists()));

    let first = bench.evaluate("probes", &[]);
    let said = "The split was opened for one probe of this name, and measured on once.";
    assert_eq!(light(&first.lights), (LightColour::Green, said));
    let card = std::fs::read_to_string(bench.at("probes/trap/README.md")).unwrap();
    assert!(card.contains(said), "{card}");
    // The same weights again change nothing but the count.
    let again = bench.evaluate("probes", &[]);
    assert_eq!((again.openings.n_probes, again.openings.n_measured), (1, 2));
    assert_eq!(light(&again.lights).0, LightColour::Green);
    assert_eq!(first.detectors, again.detectors);

    // Trained anew, in the same folder and in another.
    let before = std::fs::read(&ledgers[0]).unwrap();
    for probes in ["probes", "elsewhere"] {
        bench.train(probes, &["--lambda", "3"]);
        let said = refused(&bench, probes, &[], 5);
        assert!(said.contains("with other weights (opening 2)"), "{said}");
        assert!(
            said.contains("hint:") && said.contains("--reopen"),
            "{said}"
        );
        refused(&bench, probes, &["--reopen", " "], 2);
    }
    assert_eq!(std::fs::read(&ledgers[0]).unwrap(), before);
    // Nor with the same weights read otherwise.
    bench.train("pooled", &["--pooling", "max"]);
    assert!(refused(&bench, "pooled", &[], 5).contains("by another recipe (opening 2)"));

    // With a reason it is opened, and everybody is told.
    let report = bench.path("report.html");
    let why = "a <bug> in the labels";
    let reopened = bench.evaluate("elsewhere", &["--reopen", why, "--report", &report]);
    let said = "The split was opened for 2 probes of this name, and measured on 3 times; reasons given: “a <bug> in the labels”.";
    assert_eq!(light(&reopened.lights), (LightColour::Red, said));
    assert_eq!(reopened.openings.reasons, [why]);
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("for 2 probes of this name") && report.contains("a &lt;bug&gt; in"));
    let bundle = Bundle::read(&bench.at("elsewhere/trap")).unwrap();
    assert_eq!(bundle.evaluation().unwrap().openings, reopened.openings);
    assert!(bundle.card().contains("a \\<bug\\> in the labels"));
    assert_eq!(ledgers.each_ref().map(|ledger| n_lines(ledger)), [3, 2]);
}

#[test]
fn a_copy_of_the_bundle_remembers_what_a_new_store_has_forgotten() {
    let bench = Bench::new(&World::true_signal());
    bench.train("probes", &[]);
    bench.evaluate("probes", &[]);
    // The bundle goes elsewhere, and the store is captured anew.
    std::fs::create_dir(bench.at("copies")).unwrap();
    std::fs::create_dir(bench.at("copies/trap")).unwrap();
    for entry in std::fs::read_dir(bench.at("probes/trap")).unwrap() {
        let from = entry.unwrap().path();
        let to = bench.at("copies/trap").join(from.file_name().unwrap());
        std::fs::copy(from, to).unwrap();
    }
    std::fs::remove_file(bench.at("labelled/openings.jsonl")).unwrap();
    bench.train("copies", &["--lambda", "3"]);
    assert!(refused(&bench, "copies", &[], 5).contains("with other weights (opening 1)"));
    // A probe of another name has looked at nothing.
    let (store, out) = (bench.path("labelled"), bench.path("copies"));
    expect_ok(&["train", &store, "--name", "other", "--out", &out]);
    // A ledger that was tampered with opens nothing.
    std::fs::write(bench.at("copies/trap/openings.jsonl"), "{}\n").unwrap();
    assert!(refused(&bench, "copies", &["--reopen", "why not"], 3).contains("line 1"));
}
