//! The `evenkeel` program; everything is in the library.

fn main() {}
