//! A model, two small probes and a caller.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use candor_detect::{Detector, ScoreInput};
use candor_model::Model;
use candor_probe::{
    Bundle, BundleConfig, Combiner, CombinerKind, Platt, Reading, Target, Threshold, threshold,
};
use candor_schema::{FormatVersion, HookPoint, Verdict};
use candor_server::{AppState, ServerOptions, app};
use serde_json::{Value, json};
use tower::ServiceExt;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Calibrated, with a threshold: passes or flags.
pub(crate) const ALPHA: &str = "alpha";
/// Two hook points, neither calibrated nor certified: abstains.
pub(crate) const BETA: &str = "beta";

/// The model, loaded once, or `None` after saying why the test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
pub(crate) fn model() -> Option<Arc<Model>> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let path = std::env::var_os("CANDOR_MODEL_DIR").map(|folder| Path::new(&folder).join(FILE));
    let Some(path) = path.filter(|path| path.exists()) else {
        assert!(
            std::env::var_os("CANDOR_REQUIRE_MODEL").is_none(),
            "CANDOR_REQUIRE_MODEL is set, but CANDOR_MODEL_DIR has no {FILE}"
        );
        eprintln!("skipped: CANDOR_MODEL_DIR has no {FILE} (`candor model pull` brings it)");
        return None;
    };
    let model = MODEL.get_or_init(|| Arc::new(Model::open(&path).unwrap()));
    Some(Arc::clone(model))
}

/// Any direction does: what is tested is that every way to it gives the same logit.
fn reading(point: HookPoint, width: usize) -> Reading {
    let weight = (0..width).map(|i| ((i * 37 + 11) % 101) as f32 / 101.0 - 0.5);
    Reading::new(
        point,
        vec![0.0; width],
        vec![4.0; width],
        weight.collect(),
        vec![0.125],
    )
    .unwrap()
}

fn bundle(model: &Model, name: &str, layers: &[usize], certified: bool) -> Bundle {
    let points: Vec<HookPoint> = layers.iter().map(|&l| HookPoint::resid_post(l)).collect();
    let readings = points
        .iter()
        .map(|&point| reading(point, model.hook_width(point).unwrap()))
        .collect();
    let (combiner, kind) = if layers.len() == 1 {
        (Combiner::Single, CombinerKind::Single)
    } else {
        let weight = vec![0.5; layers.len()];
        (
            Combiner::WeightedSum { weight, bias: 0.0 },
            CombinerKind::WeightedSum,
        )
    };
    let certify = || -> Threshold {
        let controls: Vec<f64> = (0..59).map(|i| f64::from(i) / 59.0 - 0.5).collect();
        threshold(&controls, 0.05, 0.05).unwrap().named("ordinary")
    };
    let config = BundleConfig {
        format_version: FormatVersion::CURRENT,
        name: name.into(),
        version: "1.2".into(),
        candor_version: "0.1.0".into(),
        targets: vec![Target::Deception],
        kind: "logistic".into(),
        hook_points: points,
        pooling: "mean".into(),
        combiner: kind,
        calibration: certified.then_some(Platt { a: 1.0, b: 0.0 }),
        threshold: certified.then(certify),
        control_quantiles: None,
        model: model.name().into(),
        fingerprint: model.fingerprint().clone(),
        data: BTreeMap::new(),
        seed: 0,
        command: "candor train".into(),
        metrics: BTreeMap::new(),
        model_sha256: None,
        extra: serde_json::Map::new(),
    };
    Bundle::new(config, readings, combiner).unwrap()
}

pub(crate) fn detector(model: &Arc<Model>) -> Detector {
    Detector::new(Arc::clone(model))
        .with_probe(bundle(model, ALPHA, &[2], true), false)
        .unwrap()
        .with_probe(bundle(model, BETA, &[1, 3], false), false)
        .unwrap()
}

/// A running service.
pub(crate) struct World {
    pub(crate) model: Arc<Model>,
    pub(crate) state: AppState,
    pub(crate) app: Router,
}

impl World {
    /// A service with default settings, or `None` where the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        Self::with(ServerOptions::default())
    }

    pub(crate) fn with(options: ServerOptions) -> Option<Self> {
        let model = model()?;
        let state = AppState::new(detector(&model), options).unwrap();
        let app = app(state.clone());
        Some(Self { model, state, app })
    }

    pub(crate) async fn score(&self, body: &Value) -> Reply {
        post(&self.app, "/v1/score", body).await
    }

    /// The verdict on a body that must be scored.
    pub(crate) async fn verdict(&self, body: &Value) -> Verdict {
        self.score(body).await.verdict()
    }

    /// Keeps the engine busy until the gate is dropped.
    pub(crate) fn hold(&self) -> Gate {
        let engine = self.state.engine().unwrap();
        let (started, has_started) = channel();
        let (release, released) = channel::<()>();
        let input = ScoreInput::TokenIds {
            prompt: vec![],
            response: vec![1],
        };
        let respond = move |_| {
            started.send(()).unwrap();
            let _ = released.recv();
        };
        let probes = engine.detector().probes().to_vec();
        engine
            .submit(input, probes, Duration::from_mins(1), respond)
            .unwrap();
        has_started.recv().unwrap();
        Gate { _release: release }
    }

    /// Waits until this many requests are queued.
    pub(crate) async fn until_waiting(&self, n: usize) {
        while self.state.engine().unwrap().n_waiting() != n {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Holds the engine until it is dropped.
pub(crate) struct Gate {
    _release: Sender<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    #[track_caller]
    pub(crate) fn verdict(&self) -> Verdict {
        assert_eq!(self.status, 200, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// Checks the error body whole: status, code and param.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str, param: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(error["param"], json!(param), "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(
            error["type"]
                .as_str()
                .is_some_and(|text| text.ends_with("_error"))
        );
        assert!(error.get("hint").is_some());
        assert!(self.headers.contains_key("x-request-id"));
    }
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Reply {
    read(app.clone().oneshot(request).await.unwrap()).await
}

pub(crate) async fn read(response: Response<Body>) -> Reply {
    let status = response.status();
    let headers = response.headers().clone();
    let bytes = to_bytes(response.into_body(), 64 << 20).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Reply {
        status,
        headers,
        text,
    }
}

pub(crate) async fn get(app: &Router, path: &str) -> Reply {
    send(app, Request::get(path).body(Body::empty()).unwrap()).await
}

pub(crate) async fn post(app: &Router, path: &str, body: &Value) -> Reply {
    post_bytes(app, path, body.to_string()).await
}

pub(crate) async fn post_bytes(app: &Router, path: &str, body: impl Into<Body>) -> Reply {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    send(app, request).await
}

/// A chat of a few dozen tokens.
pub(crate) fn chat() -> Value {
    json!({"messages": [
        {"role": "user", "content": "Is the pump on?"},
        {"role": "assistant", "content": "No, I switched it off an hour ago."},
    ]})
}

/// `body` with more fields.
pub(crate) fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

/// A verdict without what differs from one request to the next.
pub(crate) fn lasting(verdict: &Verdict) -> Verdict {
    Verdict {
        id: String::new(),
        created: String::new(),
        timing_ms: candor_schema::Timing::default(),
        ..verdict.clone()
    }
}

#[track_caller]
pub(crate) fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance * (1.0 + a.abs()), "{a} and {b}");
}
