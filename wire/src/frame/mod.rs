//! Frames: how messages and data lie in a stream of bytes (DESIGN 3.6).

mod control;
mod data;

pub(crate) use control::encoded_bytes;
pub use control::{EncodeError, FrameDecoder, encode_message};
pub use data::{DATA_HEADER_BYTES, DATA_PREFACE_BYTES, DataHeader, DataPreface};
