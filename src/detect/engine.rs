//! The one thread on which the model runs, and the bounded queue in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candor_schema::Timing;

use crate::detector::{Detector, LoadedProbe};
use crate::error::{Error, Result};
use crate::input::ScoreInput;
use crate::reading::{ReadOptions, Scored};

/// Called once with the scores, on the engine's thread.
type Respond = Box<dyn FnOnce(Result<Answer>) + Send>;

/// Scores of one request and where its time went.
#[derive(Debug)]
pub struct Answer {
    /// The scores.
    pub scored: Scored,
    /// Queue and inference; `total` is left to the caller.
    pub timing: Timing,
}

struct Job {
    input: ScoreInput,
    probes: Vec<Arc<LoadedProbe>>,
    queued: Instant,
    deadline: Instant,
    respond: Respond,
}

/// Settings of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait; one more is refused.
    pub queue: usize,
    /// Most requests in one pass.
    pub batch: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            queue: 64,
            batch: 8,
        }
    }
}

/// A detector at work on its own thread. Dropping it finishes what is queued.
#[derive(Debug)]
pub struct Engine {
    detector: Detector,
    queue: Option<SyncSender<Job>>,
    waiting: Arc<AtomicUsize>,
    draining: AtomicBool,
    capacity: usize,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Thread`] if the system refuses it.
    pub fn start(detector: Detector, options: EngineOptions) -> Result<Self> {
        let (sender, receiver) = sync_channel(options.queue.max(1));
        let waiting = Arc::new(AtomicUsize::new(0));
        let thread = {
            let detector = detector.clone();
            let waiting = Arc::clone(&waiting);
            let batch = options.batch.max(1);
            std::thread::Builder::new()
                .name("candor-engine".into())
                .spawn(move || work(&detector, &receiver, &waiting, batch))
                .map_err(Error::Thread)?
        };
        Ok(Self {
            detector,
            queue: Some(sender),
            waiting,
            draining: AtomicBool::new(false),
            capacity: options.queue.max(1),
            thread: Some(thread),
        })
    }

    /// The model and its probes.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Requests that wait now.
    pub fn n_waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Requests that may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether new work is refused because the engine is to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Refuses new work from now on; what is queued is finished.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Queues one reply. `respond` is called exactly once unless this returns an error.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Draining`].
    pub fn submit(
        &self,
        input: ScoreInput,
        probes: Vec<Arc<LoadedProbe>>,
        timeout: Duration,
        respond: impl FnOnce(Result<Answer>) + Send + 'static,
    ) -> Result<()> {
        let Some(queue) = self.queue.as_ref().filter(|_| !self.is_draining()) else {
            return Err(Error::Draining);
        };
        let queued = Instant::now();
        let deadline = queued + timeout;
        // Counted before it is sent, so that the engine never counts down first.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        queue
            .try_send(Job {
                input,
                probes,
                queued,
                deadline,
                respond: Box::new(respond),
            })
            .map_err(|refused| {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                match refused {
                    TrySendError::Full(_) => Error::QueueFull {
                        capacity: self.capacity,
                    },
                    TrySendError::Disconnected(_) => Error::Draining,
                }
            })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine thread panicked");
        }
    }
}

/// Takes what waits, as one batch per set of probes, until the queue is closed and empty.
fn work(detector: &Detector, queue: &Receiver<Job>, waiting: &AtomicUsize, batch: usize) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        while jobs.len() < batch
            && let Ok(next) = queue.try_recv()
        {
            jobs.push(next);
        }
        waiting.fetch_sub(jobs.len(), Ordering::Relaxed);
        while !jobs.is_empty() {
            let same_probes = |a: &Job, b: &Job| {
                a.probes.len() == b.probes.len()
                    && a.probes
                        .iter()
                        .zip(&b.probes)
                        .all(|(a, b)| Arc::ptr_eq(a, b))
            };
            let (group, rest): (Vec<Job>, Vec<Job>) = {
                let mut jobs = jobs.into_iter();
                let head = jobs.next().expect("the loop ends when there are no jobs");
                let (mut group, rest): (Vec<Job>, Vec<Job>) =
                    jobs.partition(|job| same_probes(&head, job));
                group.insert(0, head);
                (group, rest)
            };
            jobs = rest;
            run(detector, group, batch);
        }
    }
}

fn run(detector: &Detector, jobs: Vec<Job>, batch: usize) {
    let start = Instant::now();
    let (late, jobs): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|job| job.deadline <= start);
    for job in late {
        (job.respond)(Err(Error::Deadline));
    }
    let Some(first) = jobs.first() else { return };
    let probes = first.probes.clone();
    let inputs: Vec<ScoreInput> = jobs.iter().map(|job| job.input.clone()).collect();
    let options = ReadOptions {
        batch,
        ..ReadOptions::default()
    };
    let results = detector.read(&inputs, &probes, options);
    let inference = start.elapsed().as_secs_f64() * 1e3;
    for (job, result) in jobs.into_iter().zip(results) {
        let queue = start.duration_since(job.queued).as_secs_f64() * 1e3;
        let timing = Timing {
            queue,
            inference,
            total: 0.0,
        };
        (job.respond)(result.map(|scored| Answer { scored, timing }));
    }
}
