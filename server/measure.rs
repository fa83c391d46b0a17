//! Counters and latencies of one state, as Prometheus text.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use candor_detect::PrefixCacheStats;
use candor_schema::{Verdict, VerdictKind};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
    with_local_recorder,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

const REQUESTS: &str = "candor_requests_total";
const VERDICTS: &str = "candor_verdicts_total";
const TOKENS: &str = "candor_tokens_total";
const QUEUE_SIZE: &str = "candor_queue_size";
const QUEUE_CAPACITY: &str = "candor_queue_capacity";
const IN_FLIGHT: &str = "candor_scores_in_flight";
const READY: &str = "candor_ready";
const PREFIX_LOOKUPS: &str = "candor_prefix_cache_lookups_total";
const PREFIX_TOKENS: &str = "candor_prefix_cache_reused_tokens_total";
const PREFIX_EVICTIONS: &str = "candor_prefix_cache_evictions_total";
const PREFIX_ENTRIES: &str = "candor_prefix_cache_entries";
const PREFIX_BYTES: &str = "candor_prefix_cache_bytes";
const PREFIX_BUDGET: &str = "candor_prefix_cache_budget_bytes";
const REQUEST_SECONDS: &str = "candor_request_duration_seconds";
const QUEUE_SECONDS: &str = "candor_queue_duration_seconds";
const INFERENCE_SECONDS: &str = "candor_inference_duration_seconds";

/// Upper bounds of the latency buckets, in seconds: a probe alone takes a millisecond, a long
/// reply on a CPU half a minute.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Requests after which observed latencies are put into their buckets. Until then each is kept on
/// its own, so a server that nobody scrapes would otherwise grow without end.
const UPKEEP_EVERY: u64 = 1024;

/// Counters and latencies. Each state has its own, so many can live in one process.
pub(crate) struct Meter {
    recorder: PrometheusRecorder,
    n_requests: AtomicU64,
}

/// What a scrape finds beside what was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) queue_size: usize,
    pub(crate) in_flight: usize,
    pub(crate) ready: bool,
    pub(crate) prefix_cache: PrefixCacheStats,
}

impl Meter {
    pub(crate) fn new(queue_capacity: usize) -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".into()), &BUCKETS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        with_local_recorder(&recorder, || {
            describe_counter!(REQUESTS, "Requests answered, by route and HTTP status.");
            describe_counter!(VERDICTS, "Replies scored, by verdict.");
            describe_counter!(TOKENS, "Tokens of scored replies, by kind.");
            describe_gauge!(QUEUE_SIZE, "Requests that wait for the model.");
            describe_gauge!(QUEUE_CAPACITY, "Requests that may wait for the model.");
            describe_gauge!(IN_FLIGHT, "Score requests that are being answered.");
            describe_gauge!(READY, "1 when scores are answered, otherwise 0.");
            describe_counter!(PREFIX_LOOKUPS, "Texts looked up in the prefix cache.");
            describe_counter!(PREFIX_TOKENS, "Tokens restored from the prefix cache.");
            describe_counter!(PREFIX_EVICTIONS, "Prefixes dropped for want of room.");
            describe_gauge!(PREFIX_ENTRIES, "Prefixes in the cache.");
            describe_gauge!(PREFIX_BYTES, "Bytes of the prefixes in the cache.");
            describe_gauge!(
                PREFIX_BUDGET,
                "Most bytes of prefixes; 0 turns the cache off."
            );
            describe_histogram!(
                REQUEST_SECONDS,
                Unit::Seconds,
                "From a request's arrival to its answer, by route."
            );
            describe_histogram!(
                QUEUE_SECONDS,
                Unit::Seconds,
                "Waiting for the model, of scored replies."
            );
            describe_histogram!(
                INFERENCE_SECONDS,
                Unit::Seconds,
                "Forward passes and probes, of scored replies."
            );
            // Series that exist from the start have a rate from the first event on.
            for verdict in [VerdictKind::Pass, VerdictKind::Flag, VerdictKind::Abstain] {
                counter!(VERDICTS, "verdict" => name(verdict)).absolute(0);
            }
            for kind in ["prompt", "response", "computed"] {
                counter!(TOKENS, "kind" => kind).absolute(0);
            }
            gauge!(QUEUE_CAPACITY).set(queue_capacity as f64);
        });
        Self {
            recorder,
            n_requests: AtomicU64::new(0),
        }
    }

    /// Counts an answered request. `route` is a pattern of the router, never a path as given.
    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        with_local_recorder(&self.recorder, || {
            let labels = [("route", route.to_owned()), ("status", status.to_string())];
            counter!(REQUESTS, &labels).increment(1);
            histogram!(REQUEST_SECONDS, "route" => route.to_owned()).record(took);
        });
        if self.n_requests.fetch_add(1, Ordering::Relaxed) % UPKEEP_EVERY == UPKEEP_EVERY - 1 {
            self.recorder.handle().run_upkeep();
        }
    }

    /// Counts a scored reply.
    pub(crate) fn verdict(&self, verdict: &Verdict) {
        with_local_recorder(&self.recorder, || {
            counter!(VERDICTS, "verdict" => name(verdict.verdict)).increment(1);
            let usage = verdict.usage;
            for (kind, n) in [
                ("prompt", usage.prompt_tokens),
                ("response", usage.response_tokens),
                ("computed", usage.computed_tokens),
            ] {
                counter!(TOKENS, "kind" => kind).increment(n as u64);
            }
            histogram!(QUEUE_SECONDS).record(verdict.timing_ms.queue / 1e3);
            histogram!(INFERENCE_SECONDS).record(verdict.timing_ms.inference / 1e3);
        });
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn render(&self, gauges: Gauges) -> String {
        with_local_recorder(&self.recorder, || {
            gauge!(QUEUE_SIZE).set(gauges.queue_size as f64);
            gauge!(IN_FLIGHT).set(gauges.in_flight as f64);
            gauge!(READY).set(f64::from(u8::from(gauges.ready)));
            let cache = gauges.prefix_cache;
            counter!(PREFIX_LOOKUPS, "result" => "hit").absolute(cache.hits);
            counter!(PREFIX_LOOKUPS, "result" => "miss").absolute(cache.misses);
            counter!(PREFIX_TOKENS).absolute(cache.reused_tokens);
            counter!(PREFIX_EVICTIONS).absolute(cache.evictions);
            gauge!(PREFIX_ENTRIES).set(cache.entries as f64);
            gauge!(PREFIX_BYTES).set(cache.bytes as f64);
            gauge!(PREFIX_BUDGET).set(cache.budget as f64);
        });
        self.recorder.handle().render()
    }
}

fn name(verdict: VerdictKind) -> &'static str {
    match verdict {
        VerdictKind::Pass => "pass",
        VerdictKind::Flag => "flag",
        VerdictKind::Abstain => "abstain",
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("n_requests", &self.n_requests)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_do_not_share_their_counts() {
        let gauges = Gauges {
            queue_size: 2,
            in_flight: 3,
            ready: true,
            prefix_cache: PrefixCacheStats {
                hits: 5,
                bytes: 4096,
                ..PrefixCacheStats::default()
            },
        };
        let (first, second) = (Meter::new(8), Meter::new(9));
        for _ in 0..3 {
            first.request("/score", 200, Duration::from_millis(30));
        }
        let text = first.render(gauges);
        for line in [
            "candor_requests_total{route=\"/score\",status=\"200\"} 3",
            "candor_request_duration_seconds_bucket{route=\"/score\",le=\"0.025\"} 0",
            "candor_request_duration_seconds_bucket{route=\"/score\",le=\"0.05\"} 3",
            "candor_request_duration_seconds_count{route=\"/score\"} 3",
            "candor_verdicts_total{verdict=\"abstain\"} 0",
            "candor_tokens_total{kind=\"prompt\"} 0",
            "candor_queue_size 2",
            "candor_queue_capacity 8",
            "candor_scores_in_flight 3",
            "candor_ready 1",
            "candor_prefix_cache_lookups_total{result=\"hit\"} 5",
            "candor_prefix_cache_bytes 4096",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let text = second.render(gauges);
        assert!(!text.contains("candor_requests_total{"), "{text}");
        assert!(text.contains("candor_queue_capacity 9"), "{text}");
    }

    #[test]
    fn a_server_that_nobody_scrapes_loses_no_count() {
        let meter = Meter::new(1);
        for _ in 0..2 * UPKEEP_EVERY + 5 {
            meter.request("/health", 200, Duration::from_micros(10));
        }
        let text = meter.render(Gauges {
            queue_size: 0,
            in_flight: 0,
            ready: false,
            prefix_cache: PrefixCacheStats::default(),
        });
        let expected = format!(
            "candor_request_duration_seconds_count{{route=\"/health\"}} {}",
            2 * UPKEEP_EVERY + 5
        );
        assert!(text.contains(&expected), "{text}");
    }
}
