//! The threads of a forward pass.
//!
//! A step of a small model has some hundred parallel regions of a few microseconds each, so
//! waiting threads spin for a while before they sleep. Which thread runs a task never shows in a
//! result: a task writes its own part of the output.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

/// How often a waiting thread looks before it sleeps: some 50 microseconds.
const SPINS: usize = 4_000;

/// A fixed set of threads, the caller's among them.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<State>,
    /// One region at a time.
    turn: Mutex<()>,
    n_threads: usize,
}

#[derive(Debug)]
struct State {
    /// Number of regions begun; a change tells workers to look at `job`.
    region: AtomicUsize,
    job: Mutex<Option<Job>>,
    wake: Condvar,
    /// Index of the next task to take.
    next: AtomicUsize,
    /// Workers that have not left the region yet.
    busy: AtomicUsize,
    panicked: AtomicBool,
}

/// The tasks of one region. The reference is valid until every worker has left the region.
#[derive(Clone, Copy)]
struct Job {
    run: &'static (dyn Fn(usize) + Sync),
    n_tasks: usize,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("n_tasks", &self.n_tasks)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// The process's pool, one thread per core unless the environment says otherwise.
    pub(crate) fn global() -> &'static Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        POOL.get_or_init(|| Self::new(crate::threads::n_threads()))
    }

    /// The caller's thread alone, also inside a task of another pool.
    pub(crate) fn alone() -> &'static Self {
        static ALONE: OnceLock<Pool> = OnceLock::new();
        ALONE.get_or_init(|| Self::new(1))
    }

    /// A pool of `n_threads` threads, of which the caller's is one.
    pub(crate) fn new(n_threads: usize) -> Self {
        let shared = Arc::new(State {
            region: AtomicUsize::new(0),
            job: Mutex::new(None),
            wake: Condvar::new(),
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        });
        let mut n_started = 1;
        for index in 1..n_threads {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("candor-{index}"));
            // Fewer threads than wanted are slower, not wrong.
            n_started += usize::from(builder.spawn(move || work(&shared)).is_ok());
        }
        Self {
            shared,
            turn: Mutex::new(()),
            n_threads: n_started,
        }
    }

    /// Number of threads, the caller's included.
    pub(crate) fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// Runs `task(0)` to `task(n_tasks - 1)`, each once, on all threads; returns when all are done.
    ///
    /// A task must not start another region.
    ///
    /// # Panics
    /// If a task does.
    pub(crate) fn run(&self, n_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.n_threads == 1 || n_tasks <= 1 {
            (0..n_tasks).for_each(task);
            return;
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the lifetime is only claimed to be static. Workers use the reference between the
        // start of the region and their leaving it, and this call returns after all have left.
        let run = unsafe {
            std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task)
        };
        let state = &*self.shared;
        let job = Job { run, n_tasks };
        state.next.store(0, Ordering::Relaxed);
        state.busy.store(self.n_threads - 1, Ordering::Relaxed);
        {
            let mut slot = state.job.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(job);
            state.region.fetch_add(1, Ordering::Release);
        }
        state.wake.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| take_tasks(state, job)));
        let mut spins = 0;
        while state.busy.load(Ordering::Acquire) > 0 {
            // A worker that was taken off its core by another process needs this one.
            if spins < SPINS {
                std::hint::spin_loop();
                spins += 1;
            } else {
                std::thread::yield_now();
            }
        }
        let panicked = state.panicked.swap(false, Ordering::Relaxed);
        drop(turn);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!panicked, "a task of the pool panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut slot = self
            .shared
            .job
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        self.shared.region.fetch_add(1, Ordering::Release);
        drop(slot);
        self.shared.wake.notify_all();
    }
}

fn take_tasks(state: &State, job: Job) {
    loop {
        let index = state.next.fetch_add(1, Ordering::Relaxed);
        if index >= job.n_tasks {
            return;
        }
        (job.run)(index);
    }
}

/// A worker: waits for a region, takes tasks, leaves. Ends when the pool is dropped.
fn work(state: &State) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while state.region.load(Ordering::Acquire) == seen && spins < SPINS {
            std::hint::spin_loop();
            spins += 1;
        }
        let job = {
            let mut slot = state.job.lock().unwrap_or_else(PoisonError::into_inner);
            while state.region.load(Ordering::Acquire) == seen {
                slot = state
                    .wake
                    .wait(slot)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            seen = state.region.load(Ordering::Acquire);
            *slot
        };
        let Some(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(|| take_tasks(state, job))).is_err() {
            state.panicked.store(true, Ordering::Relaxed);
        }
        state.busy.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_task_runs_once() {
        for n_threads in [1, 2, 5] {
            let pool = Pool::new(n_threads);
            for n_tasks in [0, 1, 2, 3, 100] {
                let counts: Vec<AtomicU64> = (0..n_tasks).map(|_| AtomicU64::new(0)).collect();
                pool.run(n_tasks, &|index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        for bad in 0..20 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(20, &|index| assert!(index != bad, "task {index}"));
            }));
            assert!(outcome.is_err());
        }
        let sum = AtomicU64::new(0);
        pool.run(10, &|index| {
            sum.fetch_add(index as u64, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }

    #[test]
    fn callers_take_turns() {
        let pool = Pool::new(2);
        let sum = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run(7, &|_| {
                            sum.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 200 * 7);
    }
}
