//! Group rules by address and by share: weight, cap and class for clients that are nobody but an address.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use crate::{
    stage::{has, node, url},
    support::{Said as _, Server, wait_until},
};

/// Short rounds, so that the tests are short.
const QUICK: &str = "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n";
const MB: f64 = 1e6;

/// A curl that fetches and forgets, from an address of this machine, until it is dropped.
struct Curl(Child);

impl Curl {
    fn from(server: &Server, address: &str, url: &str) -> Self {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--interface", address, "-o", "/dev/null", url]);
        Self(curl.env("HOME", server.room.path()).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn endless(server: &Server, name: &str) {
    File::create(server.share().join(name)).unwrap().set_len(4 << 30).unwrap();
}

/// What an address achieves; 0 before it is there.
fn achieved(server: &Server, address: &str) -> f64 {
    let (status, peer) = server.api("GET", &format!("/v1/peers/http:{address}"), None);
    if status == 200 { peer["upload"]["achieved_bytes_per_second"].as_f64().unwrap() } else { 0.0 }
}

#[test]
fn two_groups_of_addresses_share_one_to_three() {
    if !has("curl") {
        return;
    }
    let config = format!(
        "{QUICK}[[group]]\nname = \"one\"\naddresses = [\"127.0.0.1\"]\n\
         [[group]]\nname = \"three\"\naddresses = [\"127.0.0.2/31\"]\nweight = 3.0\n"
    );
    let server = node(&config, &["--upload-limit", "4MB/s"]);
    endless(&server, "endless.bin");
    // What counts is the group, not how many are in it: two addresses against one.
    let file = url(&server, "endless.bin");
    let _curls = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|address| Curl::from(&server, address, &file));
    wait_until("one to three, within 5 %, and the total used", 40, || {
        let one = achieved(&server, "127.0.0.1");
        let [two, three] = ["127.0.0.2", "127.0.0.3"].map(|address| achieved(&server, address));
        let (ratio, sum) = ((two + three) / one.max(1.0), one + two + three);
        (2.85..3.15).contains(&ratio) && (0.95..1.15).contains(&(two / three.max(1.0))) && sum > 3.6 * MB
    });
    let groups = server.get("/v1/groups");
    let peers_of =
        |name: &str| groups.as_array().unwrap().iter().find(|group| group["name"] == name).unwrap()["peers"].clone();
    assert_eq!((peers_of("one"), peers_of("three")), (1.into(), 2.into()));
}

#[test]
fn a_share_in_the_background_yields_and_a_groups_cap_holds() {
    if !has("curl") {
        return;
    }
    let films = tempfile::tempdir().unwrap();
    let config = format!(
        "{QUICK}[[share]]\nname = \"films\"\npath = \"{}\"\n\
         [[group]]\nname = \"films\"\nshares = [\"films\"]\nclass = \"background\"\n\
         [[group]]\nname = \"guests\"\naddresses = [\"127.0.0.9\"]\nupload_cap = \"500KB/s\"\n",
        films.path().display()
    );
    let server = node(&config, &["--upload-limit", "4MB/s"]);
    endless(&server, "endless.bin");
    File::create(films.path().join("film.bin")).unwrap().set_len(4 << 30).unwrap();
    let film = format!("http://{}/films/film.bin", server.http);
    let _film = Curl::from(&server, "127.0.0.1", &film);
    wait_until("alone, it has the line", 20, || achieved(&server, "127.0.0.1") > 3.5 * MB);
    let _file = Curl::from(&server, "127.0.0.2", &url(&server, "endless.bin"));
    wait_until("it yields", 20, || {
        achieved(&server, "127.0.0.1") < 0.2 * MB && achieved(&server, "127.0.0.2") > 3.5 * MB
    });
    let said = server.ctl(&["explain", "http:127.0.0.1"]).expect_code(0).out();
    assert!(said.contains("held by background_yield"), "{said}");
    let _capped = Curl::from(&server, "127.0.0.9", &url(&server, "endless.bin"));
    wait_until("the cap of its group holds", 20, || (achieved(&server, "127.0.0.9") - 0.5 * MB).abs() < 0.03 * MB);
    let said = server.ctl(&["explain", "http:127.0.0.9"]).expect_code(0).out();
    assert!(said.contains("held by group"), "{said}");
}
