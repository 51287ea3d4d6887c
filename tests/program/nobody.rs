//! Who follows an errand without showing anything.

use evenkeel::node::TransferProgress;

/// Nobody watches; what fails ends the test.
pub(crate) struct Nobody;

impl TransferProgress for Nobody {
    fn planned(&mut self, _: u64, _: u64) {}
    fn started(&mut self, _: u32, _: &str, _: u64, _: u64) {}
    fn moved(&mut self, _: u32, _: u64) {}
    fn done(&mut self, _: u32) {}
    fn failed(&mut self, _: u32, why: &str) {
        panic!("{why}");
    }
    fn note(&mut self, text: &str) {
        panic!("{text}");
    }
}
