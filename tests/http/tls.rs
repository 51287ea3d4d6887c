//! HTTPS with the operator's certificate.

use std::fs;

use tempfile::TempDir;

use crate::{
    stage::{Wire, curl, has, node},
    support::{Said as _, Server, assert_same, wait_until},
};

/// A node that speaks HTTPS, and where its certificate lies.
pub(crate) fn secured(http: &str) -> (Server, TempDir, String) {
    let certificates = tempfile::tempdir().unwrap();
    let at = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(at("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(at("key.pem"), key.serialize_pem()).unwrap();
    let config = format!("[http]\ncertificate = \"{}\"\nkey = \"{}\"\n{http}", at("cert.pem"), at("key.pem"));
    let (server, ca) = (node(&config, &[]), at("cert.pem"));
    (server, certificates, ca)
}

#[test]
fn curl_fetches_over_tls_and_plain_http_is_closed() {
    if !has("curl") {
        return;
    }
    let (server, _certificates, ca) = secured("");
    let url = format!("https://{}/share/file.bin", server.http);
    curl(&server, &["--cacert", &ca, "-r", "0-299999", "-o", "got", &url]).expect_code(0);
    curl(&server, &["--cacert", &ca, "-C", "-", "-o", "got", &url]).expect_code(0);
    assert_same(server.share().join("file.bin"), server.path("got"));
    let twice = curl(&server, &["--cacert", &ca, "-w", "%{num_connects} ", "-o", "a", &url, "-o", "b", &url]);
    assert_eq!(twice.expect_code(0).out(), "1 0 ");
    let mut plain = Wire::to(&server);
    plain.say("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("it is counted", 10, || server.metric("evenkeel_refusals_total", &["reason=\"tls\""]) == 1.0);
}

#[test]
fn who_stalls_in_the_handshake_is_closed_and_one_too_many_over_tls_as_well() {
    if !has("curl") {
        return;
    }
    let (server, _certificates, ca) = secured("head_timeout = \"5s\"\nper_address_max = 3\n");
    let url = format!("https://{}/share/file.bin", server.http);
    let counted = |reason: &str| server.metric("evenkeel_refusals_total", &[&format!("reason=\"{reason}\"")]);
    let mut stalled: Vec<Wire> = (0..3).map(|_| Wire::to(&server)).collect();
    // The beginning of a record that never comes to its end.
    stalled[1].say([0x16, 0x03, 0x01, 0x02]);
    stalled[2].say([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
    wait_until("all places of the address are taken", 10, || server.metric("evenkeel_http_connections", &[]) == 3.0);
    // What is not encrypted, it could not read: it is closed, and the operator sees why.
    assert!(Wire::to(&server).is_closed());
    assert_eq!(counted("per_address"), 1.0);
    let other = curl(&server, &["--cacert", &ca, "--interface", "127.0.0.2", "-o", "got", &url]);
    other.expect_code(0);
    assert_same(server.share().join("file.bin"), server.path("got"));
    wait_until("they are given up", 20, || counted("handshake_timeout") == 3.0);
    assert!(stalled.iter_mut().all(Wire::is_closed));
    curl(&server, &["--cacert", &ca, "-r", "0-9", "-o", "some", &url]).expect_code(0);
}

#[test]
fn a_renewed_certificate_is_in_force_without_a_restart_and_a_bad_one_is_not() {
    if !has("curl") {
        return;
    }
    let certificates = tempfile::tempdir().unwrap();
    let at = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    let make = |name: &str| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        fs::write(at(&format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(at(&format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    let install = |name: &str, files: &[&str]| {
        for end in files {
            fs::copy(at(&format!("{name}.{end}")), at("draft")).unwrap();
            fs::rename(at("draft"), at(&format!("live.{end}"))).unwrap();
        }
    };
    make("old");
    make("new");
    install("old", &["pem", "key"]);
    let config = format!(
        "[limits]\nupload = \"200KB/s\"\n[http]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        at("live.pem"),
        at("live.key")
    );
    let server = node(&config, &[]);
    let url = format!("https://{}/share/file.bin", server.http);
    let trusts = |name: &str| {
        let ca = at(&format!("{name}.pem"));
        curl(&server, &["--cacert", &ca, "-r", "0-9", "-o", "some", &url]).code() == 0
    };
    let changes =
        |outcome: &str| server.metric("evenkeel_certificate_changes_total", &[&format!("outcome=\"{outcome}\"")]);
    assert!(trusts("old") && !trusts("new"));
    std::thread::scope(|scope| {
        // Five seconds: it begins under the old certificate and ends under the new one.
        let long = scope.spawn(|| curl(&server, &["--cacert", &at("old.pem"), "-o", "got", &url]));
        wait_until("it has begun", 10, || server.metric("evenkeel_transfers", &["direction=\"upload\""]) == 1.0);
        install("new", &["pem", "key"]);
        wait_until("the new one is in force", 20, || changes("taken") == 1.0);
        assert!(trusts("new") && !trusts("old"));
        long.join().unwrap().expect_code(0);
    });
    assert_same(server.share().join("file.bin"), server.path("got"));
    install("old", &["key"]);
    wait_until("it is refused", 20, || changes("refused") == 1.0);
    assert!(
        server.words().contains("the certificate stays as it was: http.certificate and http.key"),
        "{}",
        server.words()
    );
    assert!(trusts("new"));
    fs::write(at("live.pem"), "nothing").unwrap();
    wait_until("it is refused", 20, || changes("refused") == 2.0);
    assert!(trusts("new"));
    install("old", &["pem"]);
    wait_until("the old one is in force again", 20, || changes("taken") == 2.0);
    assert!(trusts("old"));
}
