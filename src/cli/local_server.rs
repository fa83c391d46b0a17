//! A server on this machine for as long as a command needs it, and a client of it.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use anyhow::Context;
use candor_detect::Detector;
use candor_schema::Verdict;
use candor_server::{AppState, ServerOptions};
use serde_json::Value;

/// A server on a free port of the loopback address. Dropping it drains and stops it.
#[derive(Debug)]
pub(crate) struct LocalServer {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LocalServer {
    pub(crate) fn start(detector: Detector) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .context("cannot bind a port")?;
        let address = listener.local_addr()?;
        let state = AppState::new(detector, ServerOptions::default())?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("candor-local-server".into())
            .spawn(move || {
                let stopped = async { drop(stopped.await) };
                if let Err(error) = runtime.block_on(candor_server::serve(listener, state, stopped))
                {
                    tracing::error!(%error, "local server");
                }
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:PORT/score`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/score", self.address)
    }

    /// Posts a body to `/score` over a real socket.
    pub(crate) fn score(&self, body: &Value) -> anyhow::Result<Verdict> {
        let mut response = ureq::post(self.url())
            .header("content-type", "application/json")
            .send(body.to_string())
            .context("`/score` did not answer")?;
        let text = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()
            .context("`/score` was cut off")?;
        serde_json::from_str(&text).context("`/score` did not answer with a verdict")
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only if the server has ended already.
            let _ended = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the local server panicked");
        }
    }
}
