//! One connection of the load that speaks BitTorrent: asks a seed for blocks, one after another, and always has many asked for.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use super::{
    FILE_BYTES,
    load::{Talk, discard},
};
use crate::measure::Outcome;

/// What everybody asks for.
const BLOCK_BYTES: u64 = 16 << 10;
/// As `seed.py` makes them.
const PIECE_BYTES: u64 = 1 << 20;
const BLOCKS: u64 = FILE_BYTES / BLOCK_BYTES;
/// Asked for at most: 1 MiB, 5 s at 200 KB/s, so that no connection ever waits for its own request.
const ASKED_MAX: u64 = 64;
/// Asked for again when so many are left: one write for half a megabyte.
const ASKED_LOW: u64 = ASKED_MAX / 2;
const HANDSHAKE_BYTES: usize = 68;
/// Length, kind, piece and offset: what stands before a block.
const HEAD_BYTES: usize = 13;

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;

/// A leech that keeps nothing.
pub(crate) struct Torrent {
    hash: [u8; 20],
    index: usize,
    /// Of the handshake, then of the next message.
    head: Vec<u8>,
    is_greeted: bool,
    is_open: bool,
    /// Of a block that is coming.
    left: u64,
    /// Of a message that says nothing to us.
    skip: u64,
    next: u64,
    asked: u64,
}

impl Torrent {
    /// Of the torrent with this hash. Each begins elsewhere in the file.
    pub(crate) fn new(hash: [u8; 20], index: usize) -> Self {
        let next = index as u64 * 9973 % BLOCKS;
        let (head, left, skip, asked) = (Vec::new(), 0, 0, 0);
        Self { hash, index, head, is_greeted: false, is_open: false, left, skip, next, asked }
    }

    /// Asks for as many blocks as may be asked for.
    fn ask(&mut self, stream: &mut TcpStream) -> Outcome<()> {
        let mut words = Vec::new();
        while self.asked < ASKED_MAX {
            let offset = self.next * BLOCK_BYTES;
            words.extend_from_slice(&13_u32.to_be_bytes());
            words.push(REQUEST);
            for field in [offset / PIECE_BYTES, offset % PIECE_BYTES, BLOCK_BYTES] {
                words.extend_from_slice(&(field as u32).to_be_bytes());
            }
            self.next = (self.next + 1) % BLOCKS;
            self.asked += 1;
        }
        Ok(stream.write_all(&words)?)
    }

    /// Reads on in what stands before a block, and acts on it when it is whole. Answers whether there was anything.
    fn take_head(&mut self, stream: &mut TcpStream) -> Outcome<bool> {
        let wanted = if self.is_greeted { HEAD_BYTES } else { HANDSHAKE_BYTES };
        let mut bytes = [0; HANDSHAKE_BYTES];
        match stream.read(&mut bytes[..wanted - self.head.len()]) {
            Ok(0) => return Err("closed by the server".into()),
            Ok(read) => self.head.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if !self.is_greeted {
            if self.head.len() == HANDSHAKE_BYTES {
                if self.head[28..48] != self.hash {
                    return Err("another torrent".into());
                }
                self.is_greeted = true;
                self.head.clear();
            }
            return Ok(true);
        }
        while self.head.len() >= 4 && self.left == 0 && self.skip == 0 {
            let mut length = [0; 4];
            length.copy_from_slice(&self.head[..4]);
            let length = u64::from(u32::from_be_bytes(length));
            match self.head.get(4) {
                _ if length == 0 => drop(self.head.drain(..4)),
                None => break,
                Some(&PIECE) if self.head.len() < HEAD_BYTES => break,
                Some(&PIECE) => {
                    self.left = length - (HEAD_BYTES as u64 - 4);
                    self.head.clear();
                }
                Some(&kind) => {
                    let here = self.head.len().min(4 + length as usize);
                    self.skip = 4 + length - here as u64;
                    self.head.drain(..here);
                    self.hear(kind, stream)?;
                }
            }
        }
        Ok(true)
    }

    fn hear(&mut self, kind: u8, stream: &mut TcpStream) -> Outcome<()> {
        match kind {
            CHOKE => (self.is_open, self.asked) = (false, 0),
            UNCHOKE if !self.is_open => {
                self.is_open = true;
                self.ask(stream)?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Talk for Torrent {
    fn begin(&mut self, stream: &mut TcpStream) -> Outcome<()> {
        let mut words = Vec::with_capacity(HANDSHAKE_BYTES + 5);
        words.extend_from_slice(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0");
        words.extend_from_slice(&self.hash);
        // Two connections with one name would be taken for one peer.
        words.extend_from_slice(format!("-BE0001-{:012}", self.index).as_bytes());
        words.extend_from_slice(&1_u32.to_be_bytes());
        words.push(INTERESTED);
        Ok(stream.write_all(&words)?)
    }

    fn take(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> Outcome<u64> {
        let mut got = 0;
        loop {
            let block = self.left > 0;
            let here = if block { &mut self.left } else { &mut self.skip };
            if *here == 0 {
                if !self.take_head(stream)? {
                    return Ok(got);
                }
                continue;
            }
            let Some(bytes) = discard(stream, buffer, *here)? else { return Ok(got) };
            *here -= bytes;
            if !block {
                continue;
            }
            got += bytes;
            if self.left == 0 {
                self.asked = self.asked.saturating_sub(1);
                if self.asked <= ASKED_LOW && self.is_open {
                    self.ask(stream)?;
                }
            }
        }
    }
}
