//! A file being written: the [`Sink`] of the port. Bytes come in order into `NAME.part`, are hashed on the way, and are
//! given their name only when size and hash are right and everything is on the disk (DESIGN 3.7).

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actors::port::{FileError, PortFuture, PrefixHash, ResumePoint, Sink, SinkMeta};
use blake3::Hasher;
use bytes::Bytes;
use rustix::{
    fs::{Timespec, Timestamps, UTIME_OMIT, fdatasync, fstat, fsync, ftruncate, futimens},
    io::{Errno, pwrite},
};
use wire::FailureCode;

use super::{
    digest::read_exact_at,
    disk::Lane,
    fault::Label,
    groups::GROUP_BYTES,
    lock::PartLease,
    part::Place,
    path::BelowPath,
    record::Record,
    stamp::{Stamp, timespec},
    tools::Tools,
};

/// Where a file is to be written.
pub(super) struct Target {
    /// The directory that it must not leave.
    pub(super) root: Arc<OwnedFd>,
    /// The path in it.
    pub(super) below: BelowPath,
    /// Its name in messages.
    pub(super) label: Label,
    /// What its resume record is known by.
    pub(super) record_path: String,
}

/// A part, open for writing by this session alone.
#[derive(Debug)]
pub struct FileSink {
    inner: Arc<Inner>,
}

impl FileSink {
    /// Opens or makes the part and verifies what is in it.
    pub(super) async fn open(
        tools: Tools,
        target: Target,
        meta: SinkMeta,
    ) -> Result<(Self, Option<ResumePoint>), FileError> {
        let Target { root, below, label, record_path } = target;
        let gone = label.gone();
        let found = tools.pool.run(Lane::Prompt, move || {
            let place = Place::find(root.as_fd(), &below, label)?;
            Ok((place.key()?, place))
        });
        let (key, place) = found.await.map_err(|_| gone.clone())??;
        let Some(lease) = tools.locks.take(key).await else { return Err(place.busy()) };

        let (records, size, mtime_ns) = (tools.records.clone(), meta.size, meta.mtime_ns);
        let opened = tools.pool.run(Lane::Prompt, move || {
            let part = place.open_part()?;
            place.check_room(&part, size)?;
            let stamp = Stamp::of(&part).map_err(|error| place.fault(&error))?;
            let fresh = Record::new(&record_path, &meta, stamp.inode);
            let record = records.load(&record_path).filter(|record| {
                let whole = record.verified_bytes.is_multiple_of(GROUP_BYTES) && record.verified_bytes > 0;
                whole && record.fits(&fresh) && record.verified_bytes <= stamp.size.min(size)
            });
            Ok((place, part, fresh, record))
        });
        let (place, part, fresh, record) = opened.await.map_err(|_| gone)??;
        let part = Arc::new(part);
        let prefix = match record {
            Some(record) => verified_prefix(&tools, &part, &record).await,
            None => None,
        };
        let resume = prefix
            .as_ref()
            .map(|prefix| ResumePoint { offset: prefix.count(), hash: PrefixHash(*prefix.finalize().as_bytes()) });
        let state = Mutex::new(State::new(prefix));
        Ok((Self { inner: Arc::new(Inner { part, place, size, fresh, mtime_ns, state, tools, lease }) }, resume))
    }

    fn on_disk<T: Send + 'static>(
        &self,
        lane: Lane,
        job: impl FnOnce(&Arc<Inner>) -> Result<T, FileError> + Send + 'static,
    ) -> PortFuture<Result<T, FileError>> {
        let inner = self.inner.clone();
        let gone = inner.place.label.gone();
        let answer = self.inner.tools.pool.run(lane, move || job(&inner));
        Box::pin(async move { answer.await.map_err(|_| gone)? })
    }
}

impl Sink for FileSink {
    fn start(&self, offset: u64) -> PortFuture<Result<(), FileError>> {
        self.on_disk(Lane::Prompt, move |inner| inner.start(offset))
    }

    fn write(&self, offset: u64, bytes: Bytes) -> PortFuture<Result<(), FileError>> {
        self.on_disk(Lane::Prompt, move |inner| inner.write(offset, &bytes))
    }

    fn finish(&self, hash: [u8; 32]) -> PortFuture<Result<(), FileError>> {
        self.on_disk(Lane::Patient, move |inner| inner.finish(hash))
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.inner.lease.leave();
        let inner = self.inner.clone();
        // A closed pool means that the node ends: then the last record holds.
        let _ = self.inner.tools.pool.detach(Lane::Patient, move || inner.retire());
    }
}

#[derive(Debug)]
struct Inner {
    /// Closed, and so unlocked for other processes, before the lease ends.
    part: Arc<OwnedFd>,
    place: Place,
    size: u64,
    mtime_ns: i64,
    /// The record with nothing verified.
    fresh: Record,
    /// Locked on disk threads only.
    state: Mutex<State>,
    tools: Tools,
    lease: PartLease,
}

#[derive(Debug)]
enum Stage {
    /// Not started; what of the part was verified.
    Opened { prefix: Option<Box<Hasher>> },
    /// Takes bytes.
    Writing,
    /// Failed for good; every later call has the same answer.
    Failed(FileError),
    /// Named or thrown away.
    Done,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// Where the next byte goes.
    next: u64,
    hasher: Hasher,
    /// The last whole MiB: how far and its hash.
    mark: Mark,
    /// What the record on the disk says.
    recorded_bytes: u64,
    recorded_at: Instant,
    /// A syncing job is under way.
    syncing: bool,
}

#[derive(Copy, Clone, Debug)]
struct Mark {
    bytes: u64,
    hash: [u8; 32],
}

impl State {
    fn new(prefix: Option<Hasher>) -> Self {
        Self {
            stage: Stage::Opened { prefix: prefix.map(Box::new) },
            next: 0,
            hasher: Hasher::new(),
            mark: Mark { bytes: 0, hash: [0; 32] },
            recorded_bytes: 0,
            recorded_at: Instant::now(),
            syncing: false,
        }
    }

    /// Hashes what was written, stopping at every whole MiB.
    fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = GROUP_BYTES - self.next % GROUP_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.hasher.update(now);
            self.next += now.len() as u64;
            if self.next.is_multiple_of(GROUP_BYTES) {
                self.mark = Mark { bytes: self.next, hash: *self.hasher.finalize().as_bytes() };
            }
            bytes = later;
        }
    }

    fn is_sync_due(&self) -> bool {
        !self.syncing && self.mark.bytes > self.recorded_bytes && self.recorded_at.elapsed() >= RECORD_INTERVAL
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that our own code should not have made.
    fn misuse(&self, words: &str) -> FileError {
        self.place.label.fault(FailureCode::Internal, words)
    }

    fn start(&self, offset: u64) -> Result<(), FileError> {
        let mut state = self.lock();
        let Stage::Opened { prefix } = &mut state.stage else {
            return Err(self.misuse("it was started twice"));
        };
        let prefix = prefix.take();
        match prefix {
            Some(prefix) if prefix.count() == offset => {
                let hash = *prefix.finalize().as_bytes();
                state.hasher = *prefix;
                state.mark = Mark { bytes: offset, hash };
                state.recorded_bytes = offset;
            }
            _ if offset == 0 => self.tools.records.remove(&self.fresh.path),
            _ => return Err(self.misuse("it was started where nothing was verified")),
        }
        ftruncate(&self.part, offset).map_err(|errno| self.place.fault(&errno.into()))?;
        state.next = offset;
        state.stage = Stage::Writing;
        Ok(())
    }

    fn write(self: &Arc<Self>, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let mut state = self.lock();
        self.check_writing(&state)?;
        if offset != state.next {
            return Err(self.misuse("bytes came out of order"));
        }
        if offset.saturating_add(bytes.len() as u64) > self.size {
            return Err(self.misuse("more bytes came than were announced"));
        }
        for piece in bytes.chunks(WRITE_BYTES_MAX) {
            if let Err(errno) = write_all(&self.part, state.next, piece) {
                return Err(self.give_up(&mut state, errno));
            }
            state.absorb(piece);
        }
        if state.is_sync_due() {
            state.syncing = true;
            let (inner, mark) = (self.clone(), state.mark);
            // A closed pool means that the node ends.
            let _ = self.tools.pool.detach(Lane::Patient, move || inner.sync(mark));
        }
        Ok(())
    }

    fn check_writing(&self, state: &State) -> Result<(), FileError> {
        match &state.stage {
            Stage::Writing => Ok(()),
            Stage::Failed(error) => Err(error.clone()),
            Stage::Opened { .. } => Err(self.misuse("it was not started")),
            Stage::Done => Err(self.misuse("it has ended")),
        }
    }

    /// Makes everything up to `mark` durable, then says so in the record. The writer goes on meanwhile.
    fn sync(&self, mark: Mark) {
        let synced = fdatasync(&self.part);
        let mut state = self.lock();
        state.syncing = false;
        state.recorded_at = Instant::now();
        match synced {
            Ok(()) => self.save(&mut state, mark),
            // The kernel reports a lost page once: nothing that was written since the last record can be trusted.
            Err(errno) if matches!(state.stage, Stage::Writing) => {
                self.give_up(&mut state, errno);
            }
            Err(_) => {}
        }
    }

    fn save(&self, state: &mut State, mark: Mark) {
        let writing = matches!(state.stage, Stage::Writing);
        if !writing || mark.bytes <= state.recorded_bytes {
            return;
        }
        match self.tools.records.save(&self.fresh.at(mark.bytes, &mark.hash)) {
            Ok(()) => state.recorded_bytes = mark.bytes,
            // The transfer can still end well; only its resume point stays behind.
            Err(error) => tracing::debug!(%error, "a resume record could not be written"),
        }
    }

    /// The disk refused: keeps what is durable for a resume, cuts off the rest.
    fn give_up(&self, state: &mut State, errno: Errno) -> FileError {
        if matches!(errno, Errno::NOSPC | Errno::DQUOT) && fdatasync(&self.part).is_ok() {
            self.save(state, state.mark);
        }
        let error = self.place.fault(&errno.into());
        state.stage = Stage::Failed(error.clone());
        // Gives the room back to the others on that disk.
        let _ = ftruncate(&self.part, state.recorded_bytes);
        error
    }

    fn finish(&self, hash: [u8; 32]) -> Result<(), FileError> {
        let mut state = self.lock();
        self.check_writing(&state)?;
        if state.next != self.size {
            let words = format!("it ended after {} of {} bytes", state.next, self.size);
            return Err(self.place.label.fault(FailureCode::Shrunk, words));
        }
        if *state.hasher.finalize().as_bytes() != hash {
            state.stage = Stage::Done;
            self.place.discard(&self.part);
            self.tools.records.remove(&self.fresh.path);
            let words = "what arrived is not what was sent; it was thrown away, so ask again";
            return Err(self.place.label.fault(FailureCode::HashMismatch, words));
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: timespec(self.mtime_ns),
        };
        // Before the syncing, so that the time is durable as well.
        if let Err(errno) = futimens(&self.part, &times).and_then(|()| fsync(&self.part)) {
            return Err(self.give_up(&mut state, errno));
        }
        if let Err(error) = self.place.rename_part(&self.part) {
            state.stage = Stage::Failed(error.clone());
            return Err(error);
        }
        state.stage = Stage::Done;
        self.tools.records.remove(&self.fresh.path);
        Ok(())
    }

    /// The sink was dropped: writes down how far it came, or removes a part that is of no use to anybody.
    fn retire(&self) {
        let mut state = self.lock();
        match &state.stage {
            Stage::Writing => {
                if state.mark.bytes > state.recorded_bytes && fdatasync(&self.part).is_ok() {
                    let mark = state.mark;
                    self.save(&mut state, mark);
                }
                if state.recorded_bytes == 0 {
                    self.place.discard(&self.part);
                }
            }
            Stage::Failed(_) if state.recorded_bytes == 0 => self.place.discard(&self.part),
            Stage::Opened { .. } if fstat(&self.part).is_ok_and(|stat| stat.st_size == 0) => {
                self.place.discard(&self.part);
            }
            Stage::Opened { .. } | Stage::Failed(_) | Stage::Done => {}
        }
    }
}

/// Hashes the recorded prefix from the disk; `None` when its bytes are not those that were recorded.
async fn verified_prefix(tools: &Tools, part: &Arc<OwnedFd>, record: &Record) -> Option<Hasher> {
    let mut hasher = Hasher::new();
    while hasher.count() < record.verified_bytes {
        let (part, end) = (part.clone(), record.verified_bytes);
        let step = tools.pool.run(Lane::Patient, move || {
            let mut buffer = Vec::new();
            for _ in 0..STEP_GROUPS {
                if hasher.count() < end {
                    read_exact_at(&part, hasher.count(), GROUP_BYTES as usize, &mut buffer).ok()?;
                    hasher.update(&buffer);
                }
            }
            Some(hasher)
        });
        hasher = step.await.ok()??;
    }
    record.has_hash(hasher.finalize().as_bytes()).then_some(hasher)
}

fn write_all(part: &OwnedFd, offset: u64, mut bytes: &[u8]) -> Result<(), Errno> {
    let mut at = offset;
    while !bytes.is_empty() {
        match pwrite(part, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Bytes of one system call: a disk thread is back within milliseconds.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// At most one syncing per second and part, and only for a new whole MiB: a thousand slow downloads cost the disk no more
/// than one syncing per MiB, a fast one loses at most its last second to a power cut.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);

/// MiB hashed per patient job while a part is verified.
const STEP_GROUPS: usize = 4;

#[cfg(test)]
mod tests;
