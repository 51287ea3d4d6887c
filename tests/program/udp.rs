//! What the node says of its UDP sockets.

use std::fs;

use crate::support::{Server, wait_until};

/// What the node wants for each data socket, and for control (`src/transport/quic/socket.rs`).
const WANTED: [u64; 2] = [4 << 20, 1 << 20];

#[test]
fn the_log_says_what_the_kernel_gave_the_udp_sockets() {
    let max = |name: &str| fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse::<u64>().ok();
    let Some(max) = max("rmem_max").zip(max("wmem_max")).map(|(receive, send)| receive.min(send)) else {
        return println!("SKIPPED: this kernel does not say how large buffers may be");
    };
    let server = Server::with_config("[node]\nworkers = 2\n[log]\nlevel = \"debug\"\n", &[] as &[&str]);
    wait_until("the sockets are told of", 10, || lines(&server, "UDP datagrams at once").len() == 3);
    for (wanted, sockets) in WANTED.into_iter().zip([2, 1]) {
        let (refused, given) =
            (lines(&server, &format!("\"wanted\":{wanted},")), lines(&server, "UDP socket buffers\""));
        if max < wanted {
            assert_eq!(refused.len(), sockets, "{refused:?}");
            assert!(
                refused.iter().all(|line| line.contains("net.core.rmem_max") && line.contains("INFO")),
                "{refused:?}"
            );
        } else {
            assert_eq!(refused.len(), 0, "{refused:?}");
            let given = given.iter().filter(|line| line.contains(&format!("\"receive\":{wanted},"))).count();
            assert_eq!(given, sockets, "of {wanted} bytes");
        }
    }
}

fn lines(server: &Server, words: &str) -> Vec<String> {
    server.words().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
}
