//! Control frames: a 4-byte big-endian length (seed 001's `{packet, 4}`), then one protobuf `Frame`.

use bytes::{Buf, BufMut, BytesMut};
use prost::Message as _;

use crate::{CONTROL_FRAME_BYTES_MAX, Message, Violation, message::Frame};

/// Cuts a stream of bytes into messages. Give it what was read with [`FrameDecoder::extend`], then take messages until there
/// are none, before reading more: so it never holds more than one frame and one read.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    bytes_max: usize,
    unknown_frames: u64,
    /// Since the last message that was known.
    unknown_in_a_row: usize,
    fault: Option<Violation>,
}

impl FrameDecoder {
    /// A decoder for frames of at most `bytes_max` bytes, capped at [`CONTROL_FRAME_BYTES_MAX`].
    pub fn new(bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            bytes_max: bytes_max.min(CONTROL_FRAME_BYTES_MAX),
            unknown_frames: 0,
            unknown_in_a_row: 0,
            fault: None,
        }
    }

    /// Whether a frame has begun and not ended: a link that closes now was cut off.
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// How many frames were skipped because they hold a message of a newer version.
    pub fn unknown_frames(&self) -> u64 {
        self.unknown_frames
    }

    /// Takes what was read. Ignored after a violation.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.fault.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message, or `None` when more bytes are needed. A frame that holds only a message kind of a newer version is
    /// skipped and counted.
    ///
    /// # Errors
    /// A violation is final: the stream has lost its rhythm, and every later call gives the same.
    pub fn next_message(&mut self) -> Result<Option<Message>, Violation> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        match self.cut_message() {
            Ok(message) => {
                // 10,000 idle sessions must not each keep the buffer of their largest frame.
                if self.buffer.is_empty() && self.buffer.capacity() > IDLE_CAPACITY_BYTES {
                    self.buffer = BytesMut::new();
                }
                Ok(message)
            }
            Err(fault) => {
                self.buffer = BytesMut::new();
                self.fault = Some(fault.clone());
                Err(fault)
            }
        }
    }

    fn cut_message(&mut self) -> Result<Option<Message>, Violation> {
        while let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() {
            let announced = u32::from_be_bytes(*prefix);
            // Before waiting for the body: a length that can't be right is refused at its fourth byte.
            let len = match usize::try_from(announced) {
                Ok(0) => return Err(Violation::FrameEmpty),
                Ok(len) if len <= self.bytes_max => len,
                _ => {
                    return Err(Violation::FrameTooLong { len: announced.into(), max: self.bytes_max });
                }
            };
            let Some(body) = self.buffer.get(LENGTH_BYTES..LENGTH_BYTES + len) else {
                return Ok(None);
            };
            let frame = Frame::decode(body).map_err(|e| Violation::Malformed(e.to_string()))?;
            self.buffer.advance(LENGTH_BYTES + len);
            match frame.kind {
                Some(message) => {
                    message.check()?;
                    self.unknown_in_a_row = 0;
                    return Ok(Some(message));
                }
                None => {
                    self.unknown_frames += 1;
                    self.unknown_in_a_row += 1;
                    if self.unknown_in_a_row > UNKNOWN_IN_A_ROW_MAX {
                        let (what, count) = ("unknown messages in a row", self.unknown_in_a_row);
                        return Err(Violation::TooMany { what, count, max: UNKNOWN_IN_A_ROW_MAX });
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new(CONTROL_FRAME_BYTES_MAX)
    }
}

/// A message does not fit in a frame.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a `{message}` of {len} bytes does not fit in a control frame of {CONTROL_FRAME_BYTES_MAX}")]
pub struct EncodeError {
    /// The message's name.
    pub message: &'static str,
    /// Its encoded bytes.
    pub len: usize,
}

/// Appends `message` as one frame to `out`, or leaves `out` as it is.
pub fn encode_message(message: &Message, out: &mut BytesMut) -> Result<(), EncodeError> {
    let len = encoded_bytes(message);
    let announced = u32::try_from(len).ok().filter(|_| len <= CONTROL_FRAME_BYTES_MAX);
    let Some(announced) = announced else {
        return Err(EncodeError { message: message.name(), len });
    };
    out.reserve(LENGTH_BYTES + len);
    out.put_u32(announced);
    // What `Frame { kind: Some(message) }` would encode to, without moving the message into one.
    message.encode(out);
    Ok(())
}

/// Bytes of `message` inside its frame, without the length.
pub(crate) fn encoded_bytes(message: &Message) -> usize {
    message.encoded_len()
}

const LENGTH_BYTES: usize = 4;
/// Nobody above the decoder sees what it skips, so its number is bounded here. A newer peer's keepalives, every 15 s, are
/// known; in between it may say a dozen things a second that are not.
const UNKNOWN_IN_A_ROW_MAX: usize = 256;
/// Room for a window update or a ping without allocating; anything above is given back when idle.
const IDLE_CAPACITY_BYTES: usize = 512;
