//! `candor serve`: `/score` over HTTP, until SIGTERM or Ctrl-C.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use candor_server::{ApiKey, AppState, ServerOptions};

use crate::args::{ModelArgs, ProbeArgs, open_detector};
use crate::exit::{Exit, Failure};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    probes: ProbeArgs,
    /// Address to listen at
    #[arg(long, env = "CANDOR_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Key that callers must send as `Authorization: Bearer <key>`
    #[arg(long, env = "CANDOR_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Serve an address that other machines can reach without a key
    #[arg(long, env = "CANDOR_ALLOW_OPEN")]
    allow_open: bool,
    /// Requests that may wait; one more gets 429
    #[arg(long, env = "CANDOR_QUEUE", default_value_t = 64)]
    queue: usize,
    /// Most requests in one forward pass
    #[arg(long, env = "CANDOR_BATCH", default_value_t = 8)]
    batch: usize,
    /// Most memory for computed beginnings of texts, in MB, so that a growing conversation is computed once;
    /// 0 keeps none
    #[arg(long, env = "CANDOR_PREFIX_CACHE_MB", default_value_t = 512)]
    prefix_cache_mb: usize,
    /// Longest time to a verdict in seconds; later it gets 504
    #[arg(long, env = "CANDOR_TIMEOUT", default_value_t = 60.0)]
    timeout_s: f64,
    /// Longest time that a shutdown waits for requests in flight, in seconds
    #[arg(long, env = "CANDOR_DRAIN_TIMEOUT", default_value_t = 30.0)]
    drain_timeout_s: f64,
    /// Longest request body in bytes; a longer one gets 413
    #[arg(long, env = "CANDOR_MAX_BODY_BYTES", default_value_t = 32 << 20)]
    max_body_bytes: usize,
    /// Leave token texts out of every reply
    #[arg(long, env = "CANDOR_NO_TEXT")]
    no_text: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let options = options(args)?;
    // Every setting is checked before the model is loaded and the port is bound.
    options.check()?;
    options.check_address(args.listen)?;
    let detector = open_detector(&args.model, &args.probes)?
        .with_prefix_cache(args.prefix_cache_mb.saturating_mul(1_000_000));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(async {
        let state = AppState::new(detector, options)?;
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen at {}", args.listen))?;
        output::note(format!(
            "serving http://{} (docs at /docs, stop with Ctrl-C)",
            listener.local_addr()?
        ));
        candor_server::serve(listener, state, told_to_stop())
            .await
            .context("server")
    })
}

fn options(args: &Args) -> anyhow::Result<ServerOptions> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).map_err(|_| {
            Failure::error(
                Exit::Usage,
                format!("`--{name} {value}`"),
                "give a number of seconds above 0",
            )
        })
    };
    Ok(ServerOptions {
        queue: args.queue,
        batch: args.batch,
        timeout: seconds("timeout-s", args.timeout_s)?,
        drain_timeout: seconds("drain-timeout-s", args.drain_timeout_s)?,
        max_body_bytes: args.max_body_bytes,
        no_text: args.no_text,
        api_key: args.api_key.clone().map(ApiKey::new).transpose()?,
        allow_open: args.allow_open,
    })
}

/// Done at SIGTERM or Ctrl-C.
async fn told_to_stop() {
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    #[cfg(unix)]
    {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    () = ctrl_c => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be caught");
                ctrl_c.await;
            }
        }
    }
    #[cfg(not(unix))]
    ctrl_c.await;
}
