//! The thread that reads a node's control socket, and nothing else.
//!
//! A worker that sends data is busy for a millisecond at a time, and the main thread has those who connect to see to.
//! This one sleeps until a control datagram comes; then the kernel runs it at once, beside the workers or in place of one, and it
//! hands the datagram to the worker of its session, where control goes before data ([`super::urgency`]).

use std::{io, net::UdpSocket, thread};

use quinn::{Endpoint, EndpointConfig};
use tokio::sync::oneshot;

use super::{door::Door, runtime::LaneRuntime, socket};

/// The control endpoint of a node. Its thread goes on after a drop as long as it has connections.
pub(super) struct ControlThread {
    endpoint: Endpoint,
    /// Dropped with this.
    _listening: oneshot::Sender<()>,
}

impl ControlThread {
    /// Starts it.
    ///
    /// # Errors
    /// When there can be no such thread, or the socket cannot be registered with its runtime.
    pub(super) async fn start(control: UdpSocket, own: EndpointConfig, door: Door) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (opened, opening) = oneshot::channel();
        let (listening, dropped) = oneshot::channel();
        thread::Builder::new().name("evenkeel-control".into()).spawn(move || {
            if let Err(error) = host::prefer_promptness() {
                tracing::debug!(%error, "the thread of the control socket gets no short turns");
            }
            runtime.block_on(async move {
                let endpoint = socket::endpoint(control, own, Some(&door), LaneRuntime::Control);
                let kept = endpoint.as_ref().ok().cloned();
                // Whoever asked is gone if nobody takes it.
                if opened.send(endpoint).is_err() {
                    return;
                }
                let _ = dropped.await;
                if let Some(endpoint) = kept {
                    endpoint.wait_idle().await;
                }
            });
        })?;
        let endpoint = opening.await.map_err(io::Error::other)??;
        Ok(Self { endpoint, _listening: listening })
    }

    /// Where connections arrive.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}
