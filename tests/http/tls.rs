//! HTTPS with the operator's certificate.

use std::fs;

use crate::{
    stage::{Wire, curl, has, node},
    support::{Said as _, assert_same, wait_until},
};

#[test]
fn curl_fetches_over_tls_and_plain_http_is_closed() {
    if !has("curl") {
        return;
    }
    let certificates = tempfile::tempdir().unwrap();
    let at = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(at("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(at("key.pem"), key.serialize_pem()).unwrap();
    let config = format!("[http]\ncertificate = \"{}\"\nkey = \"{}\"\n", at("cert.pem"), at("key.pem"));
    let server = node(&config, &[]);
    let url = format!("https://{}/share/file.bin", server.http);
    let ca = at("cert.pem");
    curl(&server, &["--cacert", &ca, "-r", "0-299999", "-o", "got", &url]).expect_code(0);
    curl(&server, &["--cacert", &ca, "-C", "-", "-o", "got", &url]).expect_code(0);
    assert_same(server.share().join("file.bin"), server.path("got"));
    let twice = curl(&server, &["--cacert", &ca, "-w", "%{num_connects} ", "-o", "a", &url, "-o", "b", &url]);
    assert_eq!(twice.expect_code(0).out(), "1 0 ");
    let mut plain = Wire::to(&server);
    plain.say("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("it is counted", 10, || server.metric("evenkeel_refusals_total", &["reason=\"tls\""]) == 1.0);
}
