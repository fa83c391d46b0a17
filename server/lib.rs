//! HTTP service behind `candor serve`.
//!
//! [`app`] is the whole service as an axum router and [`serve`] runs it on a listener until it is
//! told to stop, then drains. Scoring is [`candor_detect`]'s: this crate checks what comes from the
//! socket, hands it to the engine's thread and puts the verdict, or the reason why there is none,
//! into JSON.
//!
//! It loads no files, binds no port and installs no global metrics recorder or tracing subscriber;
//! it writes no prompt, reply or key into a log.
//!
//! ```no_run
//! use candor_detect::Detector;
//! use candor_server::{AppState, ServerOptions, serve};
//!
//! # async fn run(detector: Detector) -> Result<(), Box<dyn std::error::Error>> {
//! let state = AppState::new(detector, ServerOptions::default())?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8089").await?;
//! let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
//! serve(listener, state, ctrl_c).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | route | answer |
//! |---|---|
//! | `POST /v1/score`, `POST /score` | a [`Verdict`](candor_schema::Verdict) on one reply |
//! | `GET /health` | 200 when scores are answered, otherwise 503 |
//! | `GET /info` | model, probes and limits |
//! | `GET /metrics` | Prometheus text |
//! | `GET /openapi.json`, `GET /docs` | the interface, for machines and people |
//!
//! Every error is `{"error": {"message", "type", "code", "param", "hint"}}` with an [`ErrorCode`].

mod error;
mod options;

mod measure;
mod state;

mod activations;
mod bounded;
mod request;
mod response;

mod route;

mod auth;
mod docs;
mod observe;

mod app;
mod shutdown;

pub use app::app;
pub use error::{Error, ErrorCode, Result};
pub use options::{ApiKey, ServerOptions};
pub use shutdown::serve;
pub use state::AppState;
