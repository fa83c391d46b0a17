//! Fit, score, calibrate and evaluate linear probes; read and write probe bundles.
//!
//! A [`Probe`] is readings (hook point, standardisation, direction) → pooling → combiner → calibration →
//! threshold. Whatever [`ProbeKind`] fitted it, that is all that serving executes. A [`Bundle`] is a probe
//! on disk with everything that must travel with it, and [`evaluate`] measures it beside what it must
//! be compared with.
//!
//! This crate works on `&[f32]` rows. It knows nothing of models, Parquet or HTTP, has no random state
//! (every draw comes from a seed that is an argument), and gives equal bits for equal input.
//!
//! ```
//! use candor_probe::{Combiner, FitOptions, Probe, Rows, kind, pooling, threshold};
//! use candor_schema::HookPoint;
//!
//! // Two tokens each of an honest and a deceptive reply, `[row, width]` at one hook point.
//! let rows = [0.1, 3.0, -0.2, 5.0, 1.9, 4.0, 2.2, 3.5];
//! let labels = [false, false, true, true];
//! let fitted = kind("logistic")?.fit(&Rows::new(&rows, 2, &labels)?, &FitOptions::default())?;
//!
//! let reading = fitted.into_reading(HookPoint::resid_post(12))?;
//! let probe = Probe::new(vec![reading], pooling("mean")?, Combiner::Single)?;
//!
//! // One score per ordinary scenario; 59 are the fewest that can promise 5 %.
//! let controls: Vec<f64> = (0..59).map(|i| f64::from(i) / 100.0 - 0.5).collect();
//! let probe = probe.with_threshold(Some(threshold(&controls, 0.05, 0.05)?))?;
//!
//! // Token by token, as a reply is written.
//! let mut state = probe.start();
//! for vector in [[2.0, 4.1], [2.1, 3.9]] {
//!     state.push(&probe, &[&vector])?;
//! }
//! let logit = state.logit().expect("two tokens were pushed");
//! assert_eq!(probe.flags(logit), Some(true));
//! # Ok::<(), candor_probe::Error>(())
//! ```

mod error;

mod kind;
mod pooling;
mod reading;

mod combiner;
mod probe;

mod calibration;
mod quantiles;
mod threshold;

pub mod evaluate;
pub mod metric;
pub mod nulls;
pub mod resample;

mod bundle;

pub use bundle::{Bundle, BundleConfig, Target};
pub use calibration::Platt;
pub use combiner::{Combiner, CombinerKind};
pub use error::{Error, Result};
pub use kind::{FitOptions, KINDS, ProbeKind, Projection, Rows, kind};
pub use pooling::{POOLINGS, Pooling, PoolingState, pooling};
pub use probe::{Probe, ProbeState, ReplyScore};
pub use quantiles::ControlQuantiles;
pub use reading::{Logit, Reading};
pub use threshold::{Threshold, allowed_exceedances, required_n, threshold};
