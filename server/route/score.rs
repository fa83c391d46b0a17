//! `POST /v1/score` and its alias `POST /score`: the verdict on one reply.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, header};
use candor_detect::{Answer, Detail, Engine, LoadedProbe, Provenance, ScoreInput};
use candor_schema::{ScoreSource, Verdict};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::request::{Ask, ScoreRequest, Served};
use crate::state::AppState;

/// Bodies above this are parsed on another thread: it takes longer than other requests should wait.
const PARSE_IN_PLACE_BYTES: usize = 128 << 10;

/// Scores one reply.
#[utoipa::path(
    post,
    path = "/v1/score",
    tag = "score",
    request_body = ScoreRequest,
    responses(
        (status = 200, description = "The verdict", body = Verdict),
        (status = 400, description = "Malformed JSON, or JSON of another shape", body = ErrorBody),
        (status = 401, description = "No key", body = ErrorBody),
        (status = 403, description = "Wrong key", body = ErrorBody),
        (status = 404, description = "Unknown probe or model", body = ErrorBody),
        (status = 409, description = "Probe and model do not belong together", body = ErrorBody),
        (status = 413, description = "Body too large", body = ErrorBody),
        (status = 422, description = "Well-formed, but cannot be scored", body = ErrorBody),
        (status = 429, description = "Queue full; see Retry-After", body = ErrorBody),
        (status = 500, description = "Fault of the server", body = ErrorBody),
        (status = 503, description = "Not ready, or shutting down", body = ErrorBody),
        (status = 504, description = "No verdict in time", body = ErrorBody),
    )
)]
pub(crate) async fn score(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Verdict>, ApiError> {
    answer(&state, request).await.map(Json)
}

/// The same as `/v1/score`.
#[utoipa::path(
    post,
    path = "/score",
    tag = "score",
    request_body = ScoreRequest,
    responses(
        (status = 200, description = "The verdict", body = Verdict),
        (status = "default", description = "As of `/v1/score`", body = ErrorBody),
    )
)]
pub(crate) async fn score_alias(
    state: State<AppState>,
    request: Request,
) -> Result<Json<Verdict>, ApiError> {
    score(state, request).await
}

async fn answer(state: &AppState, request: Request) -> Result<Verdict, ApiError> {
    let start = Instant::now();
    let _in_flight = state.enter()?;
    let engine = state.engine().ok_or_else(ApiError::not_ready)?;
    let timeout = state.options().timeout;
    let deadline = start + timeout;

    check_content_type(request.headers())?;
    let body = timeout_at(deadline, read(request, state.options().max_body_bytes))
        .await
        .map_err(|_| ApiError::deadline(timeout))??;
    let ask = parse(engine, body).await?;
    let probes = engine.detector().select(&ask.probes)?;
    let names: Vec<&str> = probes.iter().map(|probe| probe.name()).collect();
    tracing::Span::current().record("probes", names.join(","));

    let provenance = Provenance {
        source: ask.input.source(),
        on_policy: ask.on_policy,
        // Sent activations begin with the reply: what came before it was not seen here.
        exact: ask.input.source() != ScoreSource::Activations,
    };
    let detail = Detail {
        tokens: ask.tokens,
        texts: !state.options().no_text,
        readings: ask.readings,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let waiting = queue(state, engine, ask.input, probes, left)?;
    // A caller who leaves drops this future and with it the receiver; the engine's answer then goes nowhere.
    let Answer { scored, mut timing } = timeout_at(deadline, waiting)
        .await
        .map_err(|_| ApiError::deadline(timeout))?
        .map_err(|_| {
            // The engine calls back exactly once, so its thread has died with this request.
            state.fail();
            ApiError::internal()
        })?
        .map_err(|error| match error {
            candor_detect::Error::Deadline => ApiError::deadline(timeout),
            error => error.into(),
        })?;
    timing.total = start.elapsed().as_secs_f64() * 1e3;
    let verdict = engine
        .detector()
        .verdict(&scored, provenance, detail, timing);

    let span = tracing::Span::current();
    let usage = verdict.usage;
    span.record("n_tokens", usage.prompt_tokens + usage.response_tokens);
    span.record("queue_ms", verdict.timing_ms.queue);
    span.record("inference_ms", verdict.timing_ms.inference);
    state.meter().verdict(&verdict);
    Ok(verdict)
}

type Waiting = oneshot::Receiver<candor_detect::Result<Answer>>;

fn queue(
    state: &AppState,
    engine: &Engine,
    input: ScoreInput,
    probes: Vec<Arc<LoadedProbe>>,
    timeout: Duration,
) -> Result<Waiting, ApiError> {
    let (sender, receiver) = oneshot::channel();
    let submitted = engine.submit(input, probes, timeout, move |result| {
        // Nobody waits any more for a request that was too late or whose caller has left.
        let _ = sender.send(result);
    });
    match submitted {
        Ok(()) => Ok(receiver),
        // The engine refuses work although nobody told it to stop: its thread has died.
        Err(candor_detect::Error::Draining) if !engine.is_draining() => {
            state.fail();
            Err(ApiError::not_ready())
        }
        Err(error) => Err(error.into()),
    }
}

/// A page in a browser can send other types to a server on the same machine without asking; JSON it
/// cannot.
fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5 && essence.to_ascii_lowercase().ends_with("+json"));
    if is_json {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::InvalidContentType,
        "the body is not declared as `application/json`",
    )
    .param("content-type")
    .hint("send the header `content-type: application/json`"))
}

async fn read(mut request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        let what = format!("the body is longer than {limit} bytes");
        ApiError::new(ErrorCode::BodyTooLarge, what).hint("`GET /info` tells the limits")
    };
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared > limit as u64) {
        return Err(too_large());
    }
    DefaultBodyLimit::max(limit).apply(&mut request);
    Bytes::from_request(request, &())
        .await
        .map_err(|rejection| {
            if rejection.status() == ErrorCode::BodyTooLarge.status() {
                too_large()
            } else {
                ApiError::new(
                    ErrorCode::InvalidBody,
                    "the body could not be read to its end",
                )
            }
        })
}

async fn parse(engine: &Engine, body: Bytes) -> Result<Ask, ApiError> {
    let short = body.len() <= PARSE_IN_PLACE_BYTES;
    let model = Arc::clone(engine.detector().model());
    let parse = move || {
        let served = Served {
            model: model.name(),
            n_ctx: model.config().n_ctx,
        };
        Ask::parse(&body, served)
    };
    if short {
        return parse();
    }
    tokio::task::spawn_blocking(parse)
        .await
        .map_err(|_| ApiError::internal())?
}
