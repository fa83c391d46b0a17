//! Runs the service until it is told to stop, then drains it.

use std::future::{Future, IntoFuture};
use std::io;
use std::pin::pin;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::app::app;
use crate::state::AppState;

/// Serves until `shutdown` is done, then drains: `/health` answers 503 and new scores are refused with
/// `draining`, while those in flight are finished; only then are the port and the connections closed, so
/// that whoever routes traffic here can see why. After
/// [`drain_timeout`](crate::ServerOptions::drain_timeout) it returns all the same.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] for an address that
/// [`check_address`](crate::ServerOptions::check_address) refuses; otherwise what the listener reports.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    state
        .options()
        .check_address(address)
        .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
    tracing::info!(%address, "serving");

    let (close, closed) = oneshot::channel::<()>();
    let server = axum::serve(listener, app(state.clone()))
        // Either end of the channel means the same.
        .with_graceful_shutdown(async { drop(closed.await) })
        .into_future();
    let mut server = pin!(server);
    tokio::select! {
        result = &mut server => return result,
        () = shutdown => {}
    }

    let deadline = Instant::now() + state.options().drain_timeout;
    tracing::info!(n_in_flight = state.n_in_flight(), "draining");
    state.drain();
    tokio::select! {
        result = &mut server => return result,
        // Past the deadline the rest is skipped below.
        _ = timeout_at(deadline, state.idle()) => {}
    }
    drop(close);
    if let Ok(result) = timeout_at(deadline, server).await {
        tracing::info!("drained");
        return result;
    }
    let n_in_flight = state.n_in_flight();
    tracing::warn!(
        n_in_flight,
        "the drain deadline has passed: connections are cut"
    );
    Ok(())
}
