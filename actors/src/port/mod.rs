//! The ports: the small traits through which actors reach links, files, rights and, the other way, through which the
//! program's fronts reach the actors. An adapter in `src/` sees a port, never an actor; an actor sees a port, never a
//! socket.

mod console;
mod files;
mod guest;
mod link;
mod policy;

pub use console::{Console, OperateError};
pub use files::{
    FileEntry, FileError, FileKind, FilePage, Files, OpenedSink, PrefixHash, ResumePoint, Sink, SinkMeta, Source,
    Viewer,
};
pub use guest::{Company, GuestFront, GuestPlace, GuestRefusal, GuestRequest, GuestTerms, Passage};
pub use link::{
    ControlLink, ControlReceiver, ControlSender, DataArrival, DataLink, DataOffer, DataReceiver, DataSender, Dialer,
    Front, LinkError, LinkFault, Payload, Pressure, Remote, Transport,
};
pub use policy::{Policy, Rights};

use std::{future::Future, pin::Pin};

/// What a port's asynchronous method returns: it may be awaited on any worker.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;
