//! Rates and shares: what a peer asks for, what it gets, how far it is (seed 003).

/// The client wants other rates from now on.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct DesiredRates {
    /// Bytes per second that the client wants to send; 0 = as much as possible.
    #[prost(uint64, tag = "1")]
    pub upload: u64,
    /// Bytes per second that the client wants to receive; 0 = as much as possible.
    #[prost(uint64, tag = "2")]
    pub download: u64,
}

/// The server grants other rates from now on.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Granted {
    /// Bytes per second that the client may send; 0 = as much as possible.
    #[prost(uint64, tag = "1")]
    pub upload: u64,
    /// Bytes per second that the client will be sent; 0 = as much as possible.
    #[prost(uint64, tag = "2")]
    pub download: u64,
}

/// How the client wants its rate shared among its own transfers. Those that are not named keep their weight.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Proportions {
    /// In any order.
    #[prost(message, repeated, tag = "1")]
    pub shares: Vec<Proportion>,
}

/// The weight of one transfer.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Proportion {
    /// Which.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// 1000 = 1.0; 0 counts as 1000; at most [`crate::WEIGHT_THOUSANDTHS_MAX`].
    #[prost(uint32, tag = "2")]
    pub weight_thousandths: u32,
}

impl Proportion {
    /// The weight as a factor.
    pub fn weight_factor(&self) -> f64 {
        super::transfer::weight_factor(self.weight_thousandths)
    }
}

/// The receiver has this much on disk. Nothing follows from it but a progress bar at the sender.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Progress {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// The offset up to which everything is on disk.
    #[prost(uint64, tag = "2")]
    pub stored: u64,
}
