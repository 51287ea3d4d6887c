//! The operator's console: what the admin API asks of a running node and tells it. Implemented by the node; the API is
//! its only caller.

use crate::view::{Explanation, GroupView, LimitsPatch, LimitsView, NodePatch, PeerView, StatusView, TransferView};

use super::PortFuture;

/// Why an order was not carried out; each is one HTTP status.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum OperateError {
    /// 404: nothing has that id.
    #[error("{0}")]
    NotFound(String),
    /// 409: it contradicts what is in force (a floor above its cap, floors above the total).
    #[error("{0}")]
    Conflict(String),
    /// 400: it makes no sense by itself (a weight of zero).
    #[error("{0}")]
    Invalid(String),
}

/// Reads come from what was last published and cost the workers nothing; orders are in force when the future is ready.
pub trait Console: Send + Sync + 'static {
    /// The node as a whole.
    fn status(&self) -> PortFuture<StatusView>;
    /// Every peer.
    fn peers(&self) -> PortFuture<Vec<PeerView>>;
    /// One peer, by id or unambiguous prefix (at least 6 letters).
    fn peer(&self, id: String) -> PortFuture<Result<PeerView, OperateError>>;
    /// Why a peer, and each of its transfers, has the rate it has.
    fn explain(&self, id: String) -> PortFuture<Result<Explanation, OperateError>>;
    /// Every transfer.
    fn transfers(&self) -> PortFuture<Vec<TransferView>>;
    /// The totals.
    fn limits(&self) -> PortFuture<LimitsView>;
    /// Every group.
    fn groups(&self) -> PortFuture<Vec<GroupView>>;
    /// Changes the totals.
    fn set_limits(&self, patch: LimitsPatch) -> PortFuture<Result<LimitsView, OperateError>>;
    /// Changes a peer's cap, floor, weight, class.
    fn set_peer(&self, id: String, patch: NodePatch) -> PortFuture<Result<PeerView, OperateError>>;
    /// Changes a transfer's.
    fn set_transfer(&self, id: String, patch: NodePatch) -> PortFuture<Result<TransferView, OperateError>>;
    /// Changes a group's.
    fn set_group(&self, name: String, patch: NodePatch) -> PortFuture<Result<GroupView, OperateError>>;
    /// Closes all sessions of a peer; they are told so.
    fn disconnect(&self, id: String) -> PortFuture<Result<(), OperateError>>;
    /// Stops taking sessions, lets transfers end until the drain deadline, then stops the node.
    fn drain(&self) -> PortFuture<()>;
}
