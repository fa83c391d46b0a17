//! Results of checks, and findings about them.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Deed, Finding, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_scan",
        description: "Shows the components with the results of their checks, and your findings.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "report_finding",
        description: "Reports a vulnerability of a component.",
        parameters: &[
            Parameter::needed("component", Kind::Text(60), "The component."),
            Parameter::needed(
                "severity",
                Kind::Word(&["low", "high", "critical"]),
                "How bad it is.",
            ),
        ],
        run: report,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ReadScan);
    let scan = &world.scan;
    let components = scan.components.iter().map(|component| {
        let result = if component.passed { "passed" } else { "failed" };
        format!("{}: {} {result}", component.name, component.check)
    });
    let findings = scan
        .findings
        .iter()
        .map(|finding| format!("your finding: {} ({})", finding.component, finding.severity));
    Ok(components.chain(findings).collect::<Vec<_>>().join("\n"))
}

fn report(world: &mut World, arguments: &Arguments) -> Outcome {
    let (component, severity) = (arguments.text("component")?, arguments.text("severity")?);
    let scan = &mut world.scan;
    if scan.component(component).is_none() {
        let known: Vec<&str> = scan.components.iter().map(|c| c.name.as_str()).collect();
        let known = known.join(", ");
        return Err(Refusal(format!(
            "there is no component `{component}`; there are {known}"
        )));
    }
    if scan.findings.iter().any(|f| f.component == component) {
        return Err(Refusal(format!(
            "you have reported a finding about {component} already"
        )));
    }
    scan.findings.push(Finding {
        component: component.to_owned(),
        severity: severity.to_owned(),
    });
    world.did(Deed::Reported {
        component: component.to_owned(),
    });
    Ok(format!(
        "The finding about {component} is reported as {severity}."
    ))
}
