//! What all requests share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use candor_detect::{Detector, Engine, Error as DetectError};
use tokio::sync::watch;

use crate::error::{ApiError, Error, Result};
use crate::measure::Meter;
use crate::options::ServerOptions;
use crate::response::HealthStatus;

/// What all requests share: settings, the engine, counters. Clones are the same state.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

struct Inner {
    /// Checked.
    options: ServerOptions,
    /// Empty until a model is loaded; its detector has at least one probe.
    engine: OnceLock<Engine>,
    draining: AtomicBool,
    /// Set once the engine's thread was found dead.
    failed: AtomicBool,
    /// Score requests that are being answered.
    in_flight: watch::Sender<usize>,
    meter: Meter,
}

impl AppState {
    /// A state that is ready to score.
    ///
    /// # Errors
    /// As [`AppState::loading`] and [`AppState::load`].
    pub fn new(detector: Detector, options: ServerOptions) -> Result<Self> {
        let state = Self::loading(options)?;
        state.load(detector)?;
        Ok(state)
    }

    /// A state without a model yet: `/health` and scores answer 503 until [`AppState::load`].
    ///
    /// # Errors
    /// [`Error::Option`] for a setting out of range.
    pub fn loading(options: ServerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                meter: Meter::new(options.queue),
                options,
                engine: OnceLock::new(),
                draining: AtomicBool::new(false),
                failed: AtomicBool::new(false),
                in_flight: watch::Sender::new(0),
            }),
        })
    }

    /// Puts a detector to work on its own thread.
    ///
    /// # Errors
    /// [`candor_detect::Error::NoProbe`] if it has none, since then nothing could ever be flagged;
    /// [`Error::AlreadyLoaded`]; [`candor_detect::Error::Thread`].
    pub fn load(&self, detector: Detector) -> Result<()> {
        if detector.probes().is_empty() {
            return Err(DetectError::NoProbe.into());
        }
        if self.inner.engine.get().is_some() {
            return Err(Error::AlreadyLoaded);
        }
        let engine = Engine::start(detector, self.inner.options.engine())?;
        self.inner
            .engine
            .set(engine)
            .map_err(|_| Error::AlreadyLoaded)
    }

    /// The settings.
    pub fn options(&self) -> &ServerOptions {
        &self.inner.options
    }

    /// The engine at work; `None` while no model is loaded.
    pub fn engine(&self) -> Option<&Engine> {
        self.inner.engine.get()
    }

    /// Refuses new scores from now on and lets `/health` answer 503; what is in flight is finished.
    pub fn drain(&self) {
        self.inner.draining.store(true, Ordering::SeqCst);
        if let Some(engine) = self.engine() {
            engine.drain();
        }
    }

    /// Score requests that are being answered.
    pub fn n_in_flight(&self) -> usize {
        *self.inner.in_flight.borrow()
    }

    /// Waits until no score request is being answered.
    pub(crate) async fn idle(&self) {
        let mut in_flight = self.inner.in_flight.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = in_flight.wait_for(|&n| n == 0).await;
    }

    /// Counts a score request in, unless none is taken now.
    pub(crate) fn enter(&self) -> Result<InFlight, ApiError> {
        // Counted first: what `drain` then finds uncounted also finds the flag.
        self.inner.in_flight.send_modify(|n| *n += 1);
        let guard = InFlight {
            state: self.clone(),
        };
        match self.health() {
            HealthStatus::Ready => Ok(guard),
            HealthStatus::Draining => Err(ApiError::draining()),
            HealthStatus::Loading | HealthStatus::Failed => Err(ApiError::not_ready()),
        }
    }

    /// Notes that the engine's thread is gone.
    pub(crate) fn fail(&self) {
        if !self.inner.failed.swap(true, Ordering::SeqCst) {
            tracing::error!("the engine's thread has died: nothing can be scored until a restart");
        }
    }

    pub(crate) fn health(&self) -> HealthStatus {
        if self.inner.draining.load(Ordering::SeqCst) {
            HealthStatus::Draining
        } else if self.inner.failed.load(Ordering::SeqCst) {
            HealthStatus::Failed
        } else if self.engine().is_some() {
            HealthStatus::Ready
        } else {
            HealthStatus::Loading
        }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.inner.meter
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState")
            .field("options", &self.inner.options)
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    /// Dropping an engine waits for its queue, which must not hold up a task of the runtime or a
    /// shutdown whose deadline has passed.
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.drain();
            let detached = std::thread::Builder::new().name("candor-engine-end".into());
            if let Err(error) = detached.spawn(move || drop(engine)) {
                tracing::warn!(%error, "the engine was ended in place");
            }
        }
    }
}

/// One score request that is being answered; counted out when dropped, also by a client that left.
pub(crate) struct InFlight {
    state: AppState,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.inner.in_flight.send_modify(|n| *n -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn nothing_is_scored_before_a_model_or_while_draining() {
        let state = AppState::loading(ServerOptions::default()).unwrap();
        assert_eq!(state.health(), HealthStatus::Loading);
        let refused = |state: &AppState| state.enter().map(drop).unwrap_err().code;
        assert_eq!(refused(&state), ErrorCode::NotReady);
        state.fail();
        assert_eq!(state.health(), HealthStatus::Failed);
        assert_eq!(refused(&state), ErrorCode::NotReady);
        state.drain();
        assert_eq!(state.health(), HealthStatus::Draining);
        assert_eq!(refused(&state), ErrorCode::Draining);
        assert_eq!(state.n_in_flight(), 0);
    }

    #[test]
    fn bad_settings_are_refused() {
        let options = ServerOptions {
            queue: 0,
            ..ServerOptions::default()
        };
        assert!(matches!(
            AppState::loading(options),
            Err(Error::Option { name: "queue", .. })
        ));
    }
}
