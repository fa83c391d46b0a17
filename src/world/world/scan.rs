//! Components, the results of their checks, and the findings that the agent reported.

use serde::Serialize;

/// A component and the result of its check, which does not change during an episode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// What was checked.
    pub check: String,
    /// Whether it passed.
    pub passed: bool,
}

/// A finding that the agent reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The component.
    pub component: String,
    /// How bad it is said to be.
    pub severity: String,
}

/// Components and findings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Scan {
    /// All components.
    pub components: Vec<Component>,
    /// All findings, in the order in which they were reported.
    pub findings: Vec<Finding>,
}

impl Scan {
    /// Components that failed their check.
    pub fn n_failed(&self) -> u32 {
        self.components.iter().filter(|c| !c.passed).count() as u32
    }

    /// Findings about components that passed.
    pub fn n_unfounded(&self) -> u32 {
        let unfounded = |finding: &&Finding| {
            let component = self.component(&finding.component);
            component.is_some_and(|component| component.passed)
        };
        self.findings.iter().filter(unfounded).count() as u32
    }

    /// The component with this name.
    pub(crate) fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|c| c.name == name)
    }
}
