//! The sample share of a node that was started without shares, so that the first `get` has something to show.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Makes the directory `share` with a text and 4 MiB of data. A directory that has files already gets none.
///
/// # Errors
/// As the file system.
pub fn sample_share(share: &Path) -> io::Result<()> {
    match fs::create_dir(share) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && share.is_dir() => {
            if fs::read_dir(share)?.next().is_some() {
                return Ok(());
            }
        }
        Err(error) => return Err(error),
    }
    let data = sample_data();
    let hash = blake3::hash(&data).to_hex();
    write_new(&share.join(DATA_NAME), &data)?;
    write_new(&share.join("README.txt"), readme(&hash).as_bytes())?;
    Ok(())
}

/// The sample's bytes: the same on every machine, and not to be compressed.
fn sample_data() -> Vec<u8> {
    let mut data = vec![0; DATA_BYTES];
    blake3::Hasher::new().update(b"Evenkeel's sample file").finalize_xof().fill(&mut data);
    data
}

fn readme(hash: &str) -> String {
    format!(
        "This folder is shared by Evenkeel because the node was started without a share of its own.

What is in it:
  README.txt   this text
  {DATA_NAME}   {DATA_BYTES} bytes of noise, the same on every machine

Try it from another terminal:
  evenkeel ls 127.0.0.1:7400/share
  evenkeel get 127.0.0.1:7400/share/{DATA_NAME} -o /tmp/ --bwlimit 500K

Evenkeel verifies what arrives by itself. To see it with your own eyes:
  b3sum {DATA_NAME}
  {hash}

Put your own files here, or share another folder: evenkeel serve --share NAME=DIR
"
    )
}

/// Never replaces anything.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file: io::Result<File> = OpenOptions::new().write(true).create_new(true).open(path);
    match file {
        Ok(mut file) => file.write_all(bytes),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The data file's name.
pub const DATA_NAME: &str = "sample.bin";

/// Eight seconds at 500 KB/s: long enough to be watched.
const DATA_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let share = directory.path().join("share");
        sample_share(&share).unwrap();
        let data = fs::read(share.join(DATA_NAME)).unwrap();
        assert_eq!(data.len(), DATA_BYTES);
        let readme = fs::read_to_string(share.join("README.txt")).unwrap();
        assert!(readme.contains(blake3::hash(&data).to_hex().as_str()));
        fs::write(share.join("README.txt"), "mine").unwrap();
        fs::remove_file(share.join(DATA_NAME)).unwrap();
        sample_share(&share).unwrap();
        assert_eq!(fs::read_to_string(share.join("README.txt")).unwrap(), "mine");
        assert!(!share.join(DATA_NAME).exists(), "somebody else's folder is left alone");
    }
}
