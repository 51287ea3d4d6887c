//! The actor itself: its state, its lanes, and the dispatch of both. What it does is in the files beside this one.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorContext, AsyncContext, Context, StreamHandler};
use flow::{Class, LeafKey, Moment};
use tokio::sync::mpsc;
use wire::{
    DataHeader, Exit, GoodbyeCode, Hello, Message, Output, RefusalCode, Session, SessionError, Violation, Ways,
};

use crate::{
    inbox::{Inbox, Item},
    log_gate::{LOG_INTERVAL, LogGate},
    metric::Lane,
    peer::{
        ControlMessage, DataMessage,
        backlog::Room,
        client::{First, Next, SessionEvent},
        download::Download,
        link::{self, Link, Outbox, Reading},
        membership::Membership,
        serve::Opening,
        upload::Upload,
        user::User,
    },
    port::{ControlLink, DataLink, Dialer, LinkError, Remote, Rights},
    shared::Shared,
    worker::Worker,
};

/// Control messages that wait for one actor. The peer's frames are read no faster than they are handled; 64 leaves room for
/// the allocator's beside them.
const CONTROL_LANE: usize = 64;
/// How long after the end of a data link the peer's goodbye may come: a round trip and a queue.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The longest that an actor sleeps between looks at its session's timers.
const TIMER_MAX: Duration = Duration::from_secs(15);
/// Who looks so late was stopped, and listens first: nobody was silent towards him meanwhile.
const LATE: Duration = Duration::from_millis(50);
/// For so long.
const LISTENING: Duration = Duration::from_millis(500);

/// Peers that break the protocol are counted; what they did is logged once per interval.
static VIOLATIONS: LogGate = LogGate::new(LOG_INTERVAL);

/// How far the session is.
pub(super) enum Life {
    /// Nothing is known of the peer but its id.
    Stranger,
    /// It is in the registry and the tree.
    Member { membership: Membership, rights: Rights },
    /// It is over; the last words are on their way.
    Gone,
}

/// A chunk that was read before it was known what it is of.
pub(super) struct EarlyChunk {
    pub(super) link: usize,
    pub(super) header: DataHeader,
    pub(super) payload: bytes::Bytes,
    pub(super) room: Room,
}

/// What an actor starts from.
pub enum Start {
    /// The peer dialled: it says hello.
    Server,
    /// We dialled: we say hello.
    Client {
        /// Our first message.
        hello: Hello,
        /// What goes with it.
        first: First,
        /// Where the user listens.
        events: mpsc::Sender<SessionEvent>,
        /// How data links are opened.
        dialer: Arc<dyn Dialer>,
    },
}

/// One session.
pub struct PeerActor {
    pub(super) shared: Arc<Shared>,
    pub(super) worker: Rc<Worker>,
    pub(super) remote: Remote,
    /// For the welcome.
    pub(super) data_endpoint: String,
    pub(super) session: Session,
    pub(super) life: Life,
    pub(super) class: Class,
    pub(super) user: Option<User>,
    pub(super) control_lane: mpsc::Sender<ControlMessage>,
    pub(super) data_lane: mpsc::Sender<DataMessage>,
    pub(super) outbox: Option<Outbox>,
    pub(super) links: Vec<Option<Link>>,
    /// How data links are read.
    pub(super) reading: Rc<Reading>,
    /// Of each data link that it may have: those that a client asks for until it is welcomed, then those that it was granted.
    pub(super) ways: Vec<Ways>,
    /// Transfers whose file is being opened.
    pub(super) opening: HashMap<u32, Opening>,
    pub(super) uploads: HashMap<u32, Upload>,
    pub(super) downloads: HashMap<u32, Download>,
    pub(super) transfer_of: HashMap<LeafKey, u32>,
    pub(super) draining: bool,
    /// How a link was lost, and what may help, for the user.
    lost: Option<(String, Next)>,
    /// Chunks that overtook the control message that makes sense of them, in order; their links are read no further.
    pub(super) early: VecDeque<EarlyChunk>,
    pub(super) early_due: bool,
    inbox: Option<Inbox<ControlMessage, DataMessage>>,
    /// When the frame in hand became readable; answers carry it to the writer.
    pub(super) cause: Option<Moment>,
    #[cfg(feature = "lanes-off")]
    pub(super) behind_data: VecDeque<(Message, Option<Moment>)>,
}

impl PeerActor {
    /// Starts the actor of a control link on the current worker. Returns its control lane.
    pub fn start_on(worker: Rc<Worker>, link: ControlLink, start: Start) -> mpsc::Sender<ControlMessage> {
        let shared = worker.shared.clone();
        let config = &shared.config;
        // One of each kind under way per transfer, a few chunks per link, and some room for opening.
        let data_max = config.transfers_max * 6 + config.data_links_max * 8 + 16;
        let (control_lane, data_lane, inbox) = Inbox::new(CONTROL_LANE, data_max);
        let (outbox, outgoing) = Outbox::new();
        let now = worker.now();
        actix_rt::spawn(link::write_control(link.sender, outgoing, control_lane.clone(), shared.clone()));
        actix_rt::spawn(link::read_control(link.receiver, control_lane.clone(), shared.clone()));
        let limits = config.session_limits.clone();
        let (mut opening, mut ways) = (HashMap::new(), Vec::new());
        let (session, class, user, life) = match start {
            Start::Server => (Session::server(limits, now), Class::default(), None, Life::Stranger),
            Start::Client { mut hello, first, events, dialer } => {
                let class = hello.flow_class();
                ways.extend(hello.links().ways());
                let mut user = User::new(events, dialer);
                opening = user.ask_first(first, &mut hello, &limits);
                let membership = Membership::join(&worker, &link.remote, String::new(), [0, 0], control_lane.clone());
                let life = Life::Member { membership, rights: Rights::NONE };
                (Session::client(hello, limits, now), class, Some(user), life)
            }
        };
        let actor = Self {
            shared,
            worker,
            remote: link.remote,
            data_endpoint: link.data_endpoint,
            session,
            life,
            class,
            user,
            control_lane: control_lane.clone(),
            data_lane,
            outbox: Some(outbox),
            links: Vec::new(),
            reading: Rc::default(),
            ways,
            opening,
            uploads: HashMap::new(),
            downloads: HashMap::new(),
            transfer_of: HashMap::new(),
            draining: false,
            lost: None,
            early: VecDeque::new(),
            early_due: false,
            inbox: Some(inbox),
            cause: None,
            #[cfg(feature = "lanes-off")]
            behind_data: VecDeque::new(),
        };
        actor.start();
        control_lane
    }

    pub(super) fn transfers(&self) -> usize {
        self.opening.len() + self.uploads.len() + self.downloads.len()
    }

    /// Carries out what the machine says.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(message) => self.send(message),
                Output::Event(event) => self.event(event),
                Output::Close(exit) => return self.close(exit, ctx),
            }
        }
    }

    fn send(&mut self, message: Message) {
        self.count_failure(&message);
        #[cfg(feature = "lanes-off")]
        let Some(message) = self.keep_behind_data(message) else { return };
        self.send_now(message, self.cause);
    }

    /// Here, where all that is said comes by: the machine refuses by itself what is beyond its limits.
    fn count_failure(&self, message: &Message) {
        let code = match message {
            Message::Failed(failed) => Some(failed.code()),
            Message::Listing(listing) => listing.error.as_ref().map(|error| error.code()),
            _ => None,
        };
        if let Some(code) = code {
            self.shared.metrics.failure(code).increment(1);
        }
    }

    pub(super) fn send_now(&mut self, message: Message, cause: Option<Moment>) {
        let Some(outbox) = &self.outbox else { return };
        if !outbox.put(message, cause) {
            // It asks and does not read the answers: what waits for it is bounded, and so is our patience.
            self.outbox = None;
            self.violated(Violation::Flood);
        }
    }

    /// How long a message lay in its lane, and how many lie there now.
    pub(super) fn waited(&self, lane: Lane, since: Moment) {
        let metrics = &self.shared.metrics;
        metrics.lane_wait(lane).record(self.worker.now().saturating_since(since).as_secs_f64());
        let depth = match lane {
            Lane::Control => self.control_lane.max_capacity() - self.control_lane.capacity(),
            Lane::Data => self.data_lane.max_capacity() - self.data_lane.capacity(),
        };
        metrics.lane_depth(lane).record(depth as f64);
    }

    pub(super) fn take_rates(&mut self, rates: &[super::LeafRate]) {
        for rate in rates {
            let Some(transfer) = self.transfer_of.get(&rate.key).copied() else { continue };
            if let Some(upload) = self.uploads.get_mut(&transfer) {
                upload.rates = rate.rates;
                upload.lease.set_rates(rate.rates);
                self.drive_upload(transfer);
            } else if let Some(download) = self.downloads.get_mut(&transfer) {
                download.rates = rate.rates;
                download.lease.set_rates(rate.rates);
                self.drive_download(transfer);
            }
        }
        self.follow_ceilings();
    }

    /// Data links are read no faster than the download that may go fastest.
    pub(super) fn follow_ceilings(&self) {
        if let Some(most) = self.downloads.values().map(|download| download.rates.ceiling).max() {
            self.reading.rate.set(most);
        }
    }

    pub(super) fn add_link(&mut self, link: DataLink) {
        let peer = match &self.life {
            Life::Member { membership, .. } => membership.peer().clone(),
            Life::Stranger | Life::Gone => return,
        };
        let index = self.links.len();
        self.links.push(Some(Link::open(
            index,
            link,
            self.session.role(),
            &self.data_lane,
            &self.worker,
            peer,
            &self.reading,
        )));
        self.count_reading();
        self.pin_uploads();
    }

    /// How many data links bring bytes.
    fn count_reading(&self) {
        let sender = self.session.role().other();
        let links = self.links.iter().flatten().filter(|link| link.ways.carry_from(sender)).count();
        self.reading.links.set(u32::try_from(links).unwrap_or(u32::MAX));
    }

    pub(super) fn link_free(&mut self, index: usize) {
        if let Some(Some(Link { outlet: Some(outlet), .. })) = self.links.get_mut(index) {
            outlet.in_flight = None;
            outlet.blocked = None;
        }
        #[cfg(feature = "lanes-off")]
        self.let_go();
        self.drive_link(index);
    }

    pub(super) fn data_link_ended(&mut self, index: usize, error: Option<LinkError>) {
        if let Some(slot) = self.links.get_mut(index) {
            *slot = None;
        }
        self.count_reading();
        match error {
            Some(LinkError::PeerFault(violation)) => self.violated(violation),
            // The parts stay; the client comes back and resumes. But whoever ends a session in order closes its data links as
            // well, and they may overtake his last words: without those, an operator's disconnect looked like a lost line.
            error => {
                let lane = self.control_lane.clone();
                actix_rt::spawn(async move {
                    tokio::time::sleep(LAST_WORDS).await;
                    let _ = lane.send(ControlMessage::LinkEnded(error)).await;
                });
            }
        }
    }

    pub(super) fn link_lost(&mut self, error: Option<LinkError>) {
        match error {
            Some(LinkError::PeerFault(violation)) => self.violated(violation),
            Some(error) => {
                tracing::debug!(peer = %self.remote.peer, "link lost: {error}");
                self.lost = Some(match error {
                    LinkError::Local(words) => (words, Next::ComeLater),
                    error => (format!("the link was lost: {error}"), Next::DialAgain),
                });
                self.session.handle_disconnect();
            }
            None => self.session.handle_disconnect(),
        }
    }

    /// The peer broke the protocol: it is told, counted and closed.
    pub(super) fn violated(&mut self, violation: Violation) {
        self.count_violation(&violation);
        self.session.handle_violation(violation);
    }

    pub(super) fn count_violation(&self, violation: &Violation) {
        self.shared.metrics.violation(violation.code()).increment(1);
        if let Some(suppressed) = VIOLATIONS.open(self.worker.now().as_nanos()) {
            let (peer, address) = (self.remote.peer, self.remote.address);
            tracing::warn!(%peer, %address, suppressed, "protocol violation: {violation}");
        }
    }

    /// Ends the session in order, with words for the peer.
    pub(super) fn leave(&mut self, reason: &'static str, words: &str) {
        if let Life::Member { membership, .. } = &mut self.life {
            membership.reason = reason;
        }
        let code = match reason {
            "disconnected" => GoodbyeCode::Disconnected,
            "clean" => GoodbyeCode::Done,
            "drained" if self.transfers() == 0 => GoodbyeCode::Done,
            _ => GoodbyeCode::Internal,
        };
        let told = self.session.goodbye(code, words);
        self.complain(told);
    }

    pub(super) fn leave_if_drained(&mut self) {
        if self.draining && self.transfers() == 0 && self.session.is_open() {
            self.leave("drained", "the node is going down");
        }
    }

    /// The machine did not let us: that is a race with the peer, or our own bug; never the peer's problem.
    pub(super) fn complain(&self, told: Result<(), SessionError>) {
        if let Err(error) = told {
            tracing::debug!(peer = %self.remote.peer, "not said: {error}");
        }
    }

    fn close(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        if self.user.is_none() && matches!(self.life, Life::Stranger) {
            self.count_refusal(&exit);
        }
        let (reason, next) = match &exit {
            // The machine ends a drained session by itself when its last transfer has ended.
            Exit::Clean if self.draining => ("drained", Next::ComeLater),
            Exit::Clean => ("clean", Next::ComeLater),
            Exit::Refused(_) => ("refused", Next::ComeLater),
            Exit::Violation(_) => ("violation", Next::ComeLater),
            Exit::TimedOut(_) => ("timed_out", Next::DialAgain),
            Exit::Left(_) => ("disconnected", Next::ComeLater),
            Exit::PeerLeft(goodbye) => ("clean", Next::after(goodbye.code())),
            Exit::PeerGone => ("lost", self.lost.as_ref().map_or(Next::DialAgain, |(_, next)| *next)),
        };
        let why = match &exit {
            Exit::Clean => None,
            Exit::PeerGone => Some(self.lost.take().map_or_else(|| exit.to_string(), |(why, _)| why)),
            exit => Some(exit.to_string()),
        };
        self.end(reason, why, next);
        ctx.stop();
    }

    /// A stranger was turned away, whoever found the reason: this actor, or the machine.
    fn count_refusal(&self, exit: &Exit) {
        let code = match exit {
            Exit::Refused(refusal) => refusal.code(),
            Exit::Violation(_) => RefusalCode::Malformed,
            Exit::TimedOut(_) => RefusalCode::Timeout,
            // It went by itself.
            Exit::Clean | Exit::Left(_) | Exit::PeerLeft(_) | Exit::PeerGone => return,
        };
        self.shared.metrics.refusal(code.as_str()).increment(1);
    }

    /// The session is over: entries go, the writer says the last words and ends.
    fn end(&mut self, reason: &'static str, why: Option<String>, next: Next) {
        if matches!(self.life, Life::Gone) {
            return;
        }
        if let Life::Member { membership, .. } = &mut self.life
            && membership.reason == "lost"
        {
            membership.reason = reason;
        }
        let ids: Vec<u32> = self.uploads.keys().chain(self.downloads.keys()).copied().collect();
        for transfer in ids {
            self.drop_upload(transfer, "lost");
            self.drop_download(transfer, "lost");
        }
        self.life = Life::Gone;
        self.tell_user(SessionEvent::Ended { why, next });
        self.outbox = None;
    }

    /// Takes the chunks that make sense now. A link whose first chunk is early waits with all that follow it.
    pub(super) fn take_chunks(&mut self) {
        let mut waiting = VecDeque::new();
        while let Some(chunk) = self.early.pop_front() {
            let behind = waiting.iter().any(|early: &EarlyChunk| early.link == chunk.link);
            if behind {
                waiting.push_back(chunk);
            } else if let Some(early) = self.chunk_received(chunk) {
                waiting.push_back(early);
            }
        }
        self.early = waiting;
    }

    fn after_turn(&mut self, ctx: &mut Context<Self>) {
        self.pump(ctx);
        if std::mem::take(&mut self.early_due) {
            self.take_chunks();
            self.pump(ctx);
        }
        #[cfg(feature = "lanes-off")]
        self.let_go_if_no_data();
        self.cause = None;
        if matches!(self.life, Life::Gone) {
            ctx.stop();
        }
    }

    fn arm_timer(&mut self, ctx: &mut Context<Self>) {
        let now = self.worker.now();
        let due = self.session.poll_timeout().map_or(TIMER_MAX, |at| at.saturating_since(now));
        // Deadlines only move away while the peer is alive: waking at the old one and looking again is enough.
        let wait = due.clamp(Duration::from_millis(1), TIMER_MAX);
        let due = now + wait;
        ctx.run_later(wait, move |actor, ctx| match actor.worker.now().saturating_since(due) {
            late if late > LATE => drop(ctx.run_later(LISTENING, Self::look_at_deadlines)),
            _ => actor.look_at_deadlines(ctx),
        });
    }

    fn look_at_deadlines(&mut self, ctx: &mut Context<Self>) {
        self.session.handle_timeout(self.worker.now());
        self.after_turn(ctx);
        self.arm_timer(ctx);
    }
}

impl Actor for PeerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(inbox) = self.inbox.take() {
            ctx.add_stream(inbox);
        }
        self.pump(ctx);
        self.arm_timer(ctx);
    }
}

impl StreamHandler<Item<ControlMessage, DataMessage>> for PeerActor {
    fn handle(&mut self, item: Item<ControlMessage, DataMessage>, ctx: &mut Self::Context) {
        match item {
            Item::Control(message) => {
                self.shared.metrics.worker_turns(Lane::Control).increment(1);
                self.control(message);
            }
            Item::Data(message) => {
                self.shared.metrics.worker_turns(Lane::Data).increment(1);
                self.data(message);
            }
        }
        self.after_turn(ctx);
    }
}
