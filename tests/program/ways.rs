//! Data links that carry one way only.

use crate::support::{Said as _, Server, assert_same, evenkeel, noise, wait_until};

#[test]
fn files_go_over_links_that_carry_one_way() {
    for config in ["", "[transport]\ndata_encryption = \"off\"\n"] {
        let server = Server::with_config::<&str>(config, &[]);
        noise(&server.room.path().join("a.bin"), 3_000_007, 5);
        let kinds =
            [("up", "down"), ("up:2", "down:3"), ("up:1,down:1", "down:1,up:1"), ("1,up", "1,down"), ("1", "both:2")];
        for (index, (up, down)) in kinds.into_iter().enumerate() {
            let (there, back) = (format!("{index}.bin"), server.path(&format!("{index}.back")));
            server.run(&["put", &server.path("a.bin"), &server.at(&there), "--data-links", up]).expect_code(0);
            assert_same(server.path("a.bin"), server.share().join(&there));
            server.run(&["get", &server.at(&there), "-o", &back, "--data-links", down]).expect_code(0);
            assert_same(server.path("a.bin"), &back);
        }
    }
}

#[test]
fn a_link_that_carries_down_has_no_other_direction() {
    let server = Server::start(&["--upload-limit", "1MB/s"]);
    noise(&server.share().join("a.bin"), 4_000_000, 1);
    let get = server.spawn(&["get", &server.at("a.bin"), "-o", &server.path("a"), "--data-links", "down:2"]);
    let links = |direction: &str| server.metric("evenkeel_links", &[&format!("direction=\"{direction}\"")]);
    wait_until("both links are there", 20, || links("upload") == 2.0);
    assert_eq!(links("download"), 0.0);
    let (code, words) = get.wait(60);
    assert_eq!(code, 0, "{words}");
    assert_same(server.share().join("a.bin"), server.path("a"));
}

/// A node that grants fewer than were asked for leaves one of each kind.
#[test]
fn who_is_granted_fewer_links_still_has_the_way_that_he_needs() {
    let server = Server::with_config("[sessions]\nmax_data_links = 2\n", &["--open"]);
    noise(&server.share().join("a.bin"), 300_000, 7);
    let args = ["get", &server.at("a.bin"), "-o", &server.path("a"), "--data-links", "up:5,down:1"];
    let said = server.run(&args).expect_code(0).err();
    assert!(said.contains("the node grants 2 data links, not 6"), "{said}");
    assert_same(server.share().join("a.bin"), server.path("a"));
}

#[test]
fn who_is_granted_one_link_of_two_ways_has_both() {
    let server = Server::with_config::<&str>("[sessions]\nmax_data_links = 1\n", &[]);
    noise(&server.share().join("a.bin"), 300_000, 7);
    let (there, out) = (server.at("a.bin"), server.path("a"));
    server.run(&["get", &there, "-o", &out, "--data-links", "up:1,down:1"]).expect_code(0);
    server.run(&["put", &out, &server.at("b.bin"), "--data-links", "up:1,down:1"]).expect_code(0);
    assert_same(server.share().join("a.bin"), server.share().join("b.bin"));
}

#[test]
fn links_that_can_not_carry_what_is_asked_for_are_refused_before_anybody_is_dialled() {
    let refused = |args: [&str; 3], links: &str, words: &str| {
        let said = evenkeel(&[&args[..], &["--data-links", links]].concat()).expect_code(2).err();
        assert!(said.contains(words), "{said}");
    };
    let (get, put) = (["get", "h:1/share/a", "-o=b"], ["put", "a", "h:1/share/"]);
    refused(get, "up", "get needs a data link that carries bytes from the node: write `--data-links down`");
    refused(get, "up:3", "write `--data-links down`");
    refused(put, "down:2", "put needs a data link that carries bytes to the node: write `--data-links up`");
    refused(get, "sideways", "write a number, such as 2, or one for each kind, such as down:2 or up:1,down:3");
    refused(put, "up:0", "0 is not in 1..=64");
}
