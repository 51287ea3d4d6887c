//! Another way to a node that says nothing over QUIC, and which of the two is taken.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use actors::port::{ControlLink, LinkError, PortFuture};

use super::super::awake;

/// How long a node has for an answer over QUIC that does not answer the other way either: a first datagram that is lost is sent
/// again after a second.
const AFTER_LOSS: Duration = Duration::from_millis(1500);

/// Another way to a control link, if nobody answers for so long.
#[derive(Clone)]
pub(super) struct Instead {
    silence: Duration,
    dial: Arc<dyn Fn() -> PortFuture<Result<ControlLink, LinkError>> + Send + Sync>,
}

impl Instead {
    /// `dial` is asked after `silence`.
    pub(super) fn after(
        silence: Duration,
        dial: impl Fn() -> PortFuture<Result<ControlLink, LinkError>> + Send + Sync + 'static,
    ) -> Self {
        Self { silence, dial: Arc::new(dial) }
    }

    /// What `answered` gives if it is there in time; then whichever is there first, `link` made of the other way. Silence may be a
    /// lost datagram: where the other way leads nowhere, QUIC is waited for a little longer.
    pub(super) async fn unless<T>(
        self,
        answered: impl Future<Output = Result<T, LinkError>>,
        link: impl FnOnce(ControlLink) -> T,
    ) -> Result<T, LinkError> {
        let mut answered = pin!(answered);
        match awake::timeout(self.silence, &mut answered).await {
            Ok(answer) if is_final(&answer) => return answer,
            Ok(_) => return (self.dial)().await.map(link),
            Err(_) => {}
        }
        let mut dialling = (self.dial)();
        let refused = tokio::select! {
            answer = &mut answered => return if is_final(&answer) { answer } else { dialling.await.map(link) },
            dialled = &mut dialling => match dialled {
                Err(error @ (LinkError::Lost(_) | LinkError::Local(_))) => error,
                dialled => return dialled.map(link),
            },
        };
        match awake::timeout(AFTER_LOSS, answered).await {
            Ok(answer) if is_final(&answer) => answer,
            _ => Err(refused),
        }
    }
}

/// Whether nothing else need be tried: somebody is there, be it one who is not to be believed.
fn is_final<T>(answer: &Result<T, LinkError>) -> bool {
    matches!(answer, Ok(_) | Err(LinkError::Identity(_)))
}
