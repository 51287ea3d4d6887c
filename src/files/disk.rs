//! The disk pool: a few threads that may wait for a disk, so that no worker ever does (DESIGN 15).
//!
//! Three lanes feed them. *Prompt* jobs are what a transfer is waiting for: opening, reading and writing one piece.
//! *Patient* jobs are long: hashing, syncing; so are *listings*, which anybody may ask for at any rate. Prompt jobs go first,
//! the others never hold more than half of the threads, and one turn in [`PATIENT_TURN`] is theirs so that they are not starved
//! either. Those two take turns.
//!
//! A full lane makes the asker wait, asynchronously; it never blocks the thread it runs on.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::{Semaphore, oneshot};

/// How far a disk thread stands back behind those that answer peers: each level is worth a fifth of a core that others want. A write
/// copies, and goes on for as long as the kernel lets it.
const DISK_NICE: i32 = 5;

/// How long a job may keep others waiting.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Lane {
    /// One piece of a transfer; milliseconds.
    Prompt,
    /// Hashing, syncing; served behind and on at most half of the threads.
    Patient,
    /// The same for names: however many ask for them, who hashes has every other turn.
    Listing,
}

/// The pool is closed, or the job panicked.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("the disk pool gave no answer")]
pub(super) struct DiskGone;

/// The threads that may wait for a disk. Dropping the pool lets them finish what is queued and end.
#[derive(Debug)]
pub(super) struct DiskPool {
    shared: Arc<Shared>,
}

impl DiskPool {
    /// Starts `threads` threads (at least 1).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let pool = Self {
            shared: Arc::new(Shared {
                queue: Mutex::new(Queue::default()),
                work: Condvar::new(),
                prompt_room: Semaphore::new(LANE_JOBS_MAX),
                patient_room: Semaphore::new(LANE_JOBS_MAX),
                listing_room: Semaphore::new(LANE_JOBS_MAX),
                patient_max: threads.div_ceil(2),
            }),
        };
        for index in 0..threads {
            let shared = pool.shared.clone();
            thread::Builder::new().name(format!("evenkeel-disk-{index}")).spawn(move || {
                if let Err(error) = host::stand_back(DISK_NICE) {
                    tracing::debug!(%error, "a disk thread does not stand back");
                }
                shared.serve();
            })?;
        }
        Ok(pool)
    }

    /// Runs `job` on a disk thread and gives its answer. Waits for room in the lane first. A job whose asker went away
    /// before its turn is not run.
    pub(super) fn run<T, F>(&self, lane: Lane, job: F) -> impl Future<Output = Result<T, DiskGone>> + Send + 'static
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let shared = self.shared.clone();
        async move {
            // Never closed: a closed pool is noticed by `push`.
            let room = shared.room(lane).acquire().await.map_err(|_| DiskGone)?;
            let (answer, asked) = oneshot::channel();
            let work = Box::new(move || {
                if !answer.is_closed() {
                    // The asker may go away meanwhile; then nobody needs the answer.
                    let _ = answer.send(job());
                }
            });
            shared.push(lane, Job { work, holds_room: true })?;
            // The room is given back by the thread that takes the job.
            room.forget();
            asked.await.map_err(|_| DiskGone)
        }
    }

    /// Queues `job` without waiting for room and without an answer: for what must happen even when nobody waits any
    /// more. Its callers are bounded otherwise: one such job per open sink and per file being hashed.
    ///
    /// # Errors
    /// The pool is closed.
    pub(super) fn detach<F>(&self, lane: Lane, job: F) -> Result<(), DiskGone>
    where
        F: FnOnce() + Send + 'static,
    {
        self.shared.push(lane, Job { work: Box::new(job), holds_room: false })
    }

    /// Jobs waiting for a thread, all lanes.
    pub(super) fn waiting(&self) -> usize {
        let queue = self.shared.lock();
        queue.prompt.len() + queue.patient.len() + queue.listings.len()
    }
}

impl Drop for DiskPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

struct Job {
    work: Box<dyn FnOnce() + Send>,
    /// Whether it took a place in its lane that is to be given back.
    holds_room: bool,
}

#[derive(Default)]
struct Queue {
    prompt: VecDeque<Job>,
    patient: VecDeque<Job>,
    listings: VecDeque<Job>,
    /// Of both.
    patient_running: usize,
    was_listing: bool,
    turns: u64,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    prompt_room: Semaphore,
    patient_room: Semaphore,
    listing_room: Semaphore,
    patient_max: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskPool").field("patient_max", &self.patient_max).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Jobs run outside the lock, so that a panic cannot leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self, lane: Lane) -> &Semaphore {
        match lane {
            Lane::Prompt => &self.prompt_room,
            Lane::Patient => &self.patient_room,
            Lane::Listing => &self.listing_room,
        }
    }

    fn push(&self, lane: Lane, job: Job) -> Result<(), DiskGone> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(DiskGone);
        }
        match lane {
            Lane::Prompt => queue.prompt.push_back(job),
            Lane::Patient => queue.patient.push_back(job),
            Lane::Listing => queue.listings.push_back(job),
        }
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    fn serve(&self) {
        let mut queue = self.lock();
        loop {
            let Some((lane, job)) = queue.take(self.patient_max) else {
                if queue.closed && queue.is_empty() {
                    // Who waits for a patient turn that will not come ends as well.
                    self.work.notify_all();
                    return;
                }
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            if job.holds_room {
                self.room(lane).add_permits(1);
            }
            if catch_unwind(AssertUnwindSafe(job.work)).is_err() {
                tracing::error!("a disk job panicked; whoever waits for it is told");
            }
            queue = self.lock();
            if lane != Lane::Prompt {
                queue.patient_running -= 1;
                // Another thread may have passed over a patient job because of this one.
                self.work.notify_one();
            }
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.patient.is_empty() && self.listings.is_empty()
    }

    /// The next patient job or listing, each in turn where both wait.
    fn take_patient(&mut self) -> Option<(Lane, Job)> {
        let is_listing = !self.listings.is_empty() && (self.patient.is_empty() || !self.was_listing);
        self.was_listing = is_listing;
        match is_listing {
            true => self.listings.pop_front().map(|job| (Lane::Listing, job)),
            false => self.patient.pop_front().map(|job| (Lane::Patient, job)),
        }
    }

    /// The next job, if one may run now.
    fn take(&mut self, patient_max: usize) -> Option<(Lane, Job)> {
        self.turns = self.turns.wrapping_add(1);
        let patient_wait = !(self.patient.is_empty() && self.listings.is_empty());
        let patient_may = self.patient_running < patient_max && patient_wait;
        let patient_first = self.turns.is_multiple_of(PATIENT_TURN);
        if patient_may && (patient_first || self.prompt.is_empty()) {
            self.patient_running += 1;
            return self.take_patient();
        }
        self.prompt.pop_front().map(|job| (Lane::Prompt, job))
    }
}

/// Jobs per lane that wait for a thread. A job holds at most one piece of 256 KiB: 64 MiB at the worst.
const LANE_JOBS_MAX: usize = 256;

/// One turn in so many is a patient job's even while prompt ones wait.
const PATIENT_TURN: u64 = 4;

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        sync::mpsc,
        time::Duration,
    };

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn answers_and_survives_a_panic() {
        let pool = DiskPool::new(1).unwrap();
        block_on(async {
            assert_eq!(pool.run(Lane::Prompt, || 7).await, Ok(7));
            let lost = pool.run(Lane::Prompt, || panic!("a bug")).await;
            assert_eq!(lost, Err::<(), _>(DiskGone));
            assert_eq!(pool.run(Lane::Patient, || 8).await, Ok(8));
        });
    }

    #[test]
    fn a_full_lane_makes_the_asker_wait_and_loses_nothing() {
        let pool = DiskPool::new(1).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        pool.detach(Lane::Prompt, move || gate.recv().unwrap()).unwrap();
        block_on(async {
            let jobs: Vec<_> =
                (0..LANE_JOBS_MAX + 50).map(|n| tokio::spawn(pool.run(Lane::Prompt, move || n))).collect();
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(pool.waiting() <= LANE_JOBS_MAX + 1, "{}", pool.waiting());
            open.send(()).unwrap();
            for (n, job) in jobs.into_iter().enumerate() {
                assert_eq!(job.await.unwrap(), Ok(n));
            }
        });
    }

    #[test]
    fn patient_jobs_leave_half_of_the_threads_to_prompt_ones() {
        let pool = DiskPool::new(4).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let running = Arc::new(AtomicUsize::new(0));
        let (done, ends) = mpsc::channel();
        for _ in 0..8 {
            let (gate, running, done) = (gate.clone(), running.clone(), done.clone());
            pool.detach(Lane::Patient, move || {
                running.fetch_add(1, Ordering::SeqCst);
                gate.lock().unwrap().recv().unwrap();
                done.send(()).unwrap();
            })
            .unwrap();
        }
        block_on(async {
            for n in 0..20 {
                assert_eq!(pool.run(Lane::Prompt, move || n).await, Ok(n));
            }
        });
        assert!(running.load(Ordering::SeqCst) <= 2);
        for _ in 0..8 {
            open.send(()).unwrap();
        }
        for _ in 0..8 {
            ends.recv().unwrap();
        }
    }

    #[test]
    fn however_many_list_who_hashes_has_every_other_turn() {
        let pool = DiskPool::new(1).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        pool.detach(Lane::Prompt, move || gate.recv().unwrap()).unwrap();
        let (done, order) = mpsc::channel();
        for (lane, name, jobs) in [(Lane::Listing, 'l', 200), (Lane::Patient, 'h', 10)] {
            for _ in 0..jobs {
                let done = done.clone();
                pool.detach(lane, move || done.send(name).unwrap()).unwrap();
            }
        }
        open.send(()).unwrap();
        let order: String = (0..210).map(|_| order.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
        assert_eq!(order, format!("{}{}", "lh".repeat(10), "l".repeat(190)));
    }

    #[test]
    fn a_job_nobody_waits_for_is_not_run_and_a_closed_pool_finishes_its_queue() {
        let pool = DiskPool::new(1).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        pool.detach(Lane::Prompt, move || gate.recv().unwrap()).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let counter = ran.clone();
        block_on(async {
            let job = pool.run(Lane::Prompt, move || counter.fetch_add(1, Ordering::SeqCst));
            assert!(tokio::time::timeout(Duration::from_millis(5), job).await.is_err());
        });
        let (done, finished) = mpsc::channel();
        pool.detach(Lane::Prompt, move || done.send(()).unwrap()).unwrap();
        drop(pool);
        open.send(()).unwrap();
        finished.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }
}
