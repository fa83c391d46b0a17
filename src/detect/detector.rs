//! A model and the probes that watch it, checked against each other once.

use std::path::Path;
use std::sync::Arc;

use candor_model::Model;
use candor_probe::{Bundle, Probe};
use candor_schema::{HookPoint, ModelFingerprint, ProbeMatch, ProbeRole};

use crate::error::{Error, Result};
use crate::prefix_cache::{Chain, PrefixCache, Root};

/// A model and its probes at work.
#[derive(Debug, Clone)]
pub struct Detector {
    model: Arc<Model>,
    probes: Vec<Arc<LoadedProbe>>,
    cache: PrefixCache,
    /// What every text in the cache begins with: the model's identity, and no edits.
    root: Root,
}

/// A bundle that has been checked against the loaded model.
#[derive(Debug)]
pub struct LoadedProbe {
    bundle: Bundle,
    role: ProbeRole,
    matched: ProbeMatch,
}

impl LoadedProbe {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What serving executes.
    pub fn probe(&self) -> &Probe {
        self.bundle.probe()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.bundle.config().name
    }

    /// What it is used for.
    pub fn role(&self) -> ProbeRole {
        self.role
    }

    /// How closely the loaded model matches the one it was made on.
    pub fn matched(&self) -> ProbeMatch {
        self.matched
    }
}

impl Detector {
    /// A model without probes and without a prefix cache.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            root: Root::new(model.fingerprint(), b""),
            model,
            probes: Vec::new(),
            cache: PrefixCache::new(0),
        }
    }

    /// Keeps up to `budget` bytes of computed prefixes, so that a text that goes on from one need not
    /// be computed from its beginning; 0 keeps none. Clones made later share them.
    #[must_use]
    pub fn with_prefix_cache(mut self, budget: usize) -> Self {
        self.cache = PrefixCache::new(budget);
        self
    }

    /// Adds a bundle in the acting role.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it was made on another model and `allow_transfer` is false;
    /// [`Error::ProbeWidth`] or a hook-point error if it cannot read this model at all.
    pub fn with_probe(mut self, bundle: Bundle, allow_transfer: bool) -> Result<Self> {
        let config = bundle.config();
        if self.probes.iter().any(|probe| probe.name() == config.name) {
            return Err(Error::DuplicateProbe {
                name: config.name.clone(),
            });
        }
        let found = self.model.fingerprint();
        let matched = config.fingerprint.compare(found);
        for reading in bundle.probe().readings() {
            let point = reading.hook_point();
            let width = self.model.hook_width(point)?;
            if width != reading.width() {
                let probe = config.name.clone();
                return Err(Error::ProbeWidth {
                    probe,
                    point,
                    expected: reading.width(),
                    found: width,
                });
            }
        }
        if matched == ProbeMatch::Transferred && !allow_transfer {
            return Err(Error::Mismatch {
                probe: config.name.clone(),
                expected: config.model.clone(),
                found: self.model.name().to_owned(),
                difference: difference(&config.fingerprint, found).to_owned(),
            });
        }
        self.probes.push(Arc::new(LoadedProbe {
            bundle,
            role: ProbeRole::Acting,
            matched,
        }));
        Ok(self)
    }

    /// Reads a bundle's folder and adds it.
    ///
    /// # Errors
    /// What reading finds, and as [`Detector::with_probe`].
    pub fn with_probe_dir(self, dir: &Path, allow_transfer: bool) -> Result<Self> {
        self.with_probe(Bundle::read(dir)?, allow_transfer)
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The computed prefixes.
    pub fn prefix_cache(&self) -> &PrefixCache {
        &self.cache
    }

    /// The cache's key of a text.
    pub(crate) fn chain(&self, tokens: &[u32]) -> Chain {
        self.root.chain(tokens)
    }

    /// The probes, in the order in which they were added.
    pub fn probes(&self) -> &[Arc<LoadedProbe>] {
        &self.probes
    }

    /// The probes of these names, or all where no name is given.
    ///
    /// # Errors
    /// [`Error::UnknownProbe`]; [`Error::NoProbe`] where none is loaded.
    pub fn select(&self, names: &[String]) -> Result<Vec<Arc<LoadedProbe>>> {
        if self.probes.is_empty() {
            return Err(Error::NoProbe);
        }
        if names.is_empty() {
            return Ok(self.probes.clone());
        }
        let find = |name: &String| {
            self.probes
                .iter()
                .find(|probe| probe.name() == name)
                .cloned()
                .ok_or_else(|| Error::UnknownProbe {
                    name: name.clone(),
                    known: self
                        .probes
                        .iter()
                        .map(|probe| probe.name())
                        .collect::<Vec<_>>()
                        .join(", "),
                })
        };
        names.iter().map(find).collect()
    }
}

/// Every hook point that some of the probes read, each once, in the order of a forward pass.
pub(crate) fn hook_points(probes: &[Arc<LoadedProbe>]) -> Vec<HookPoint> {
    let mut points: Vec<HookPoint> = probes
        .iter()
        .flat_map(|probe| probe.probe().hook_points().to_vec())
        .collect();
    points.sort_unstable();
    points.dedup();
    points
}

/// The first field in which two fingerprints differ.
fn difference(expected: &ModelFingerprint, found: &ModelFingerprint) -> &'static str {
    let fields = [
        ("base", expected.base == found.base),
        ("architecture", expected.architecture == found.architecture),
        (
            "config_sha256",
            expected.config_sha256 == found.config_sha256,
        ),
        (
            "tokenizer_sha256",
            expected.tokenizer_sha256 == found.tokenizer_sha256,
        ),
        (
            "template_sha256",
            expected.template_sha256 == found.template_sha256,
        ),
        (
            "weights_sha256",
            expected.weights_sha256 == found.weights_sha256,
        ),
        ("adapters", expected.adapters == found.adapters),
    ];
    fields
        .iter()
        .find(|field| !field.1)
        .map_or("compute", |field| field.0)
}
