//! A listing as a browser makes it of the page.

use std::{fs, path::Path, process::Command};

use crate::{
    stage::{has, node, run, url},
    support::{PROGRAM, Said as _},
};

/// What a browser's tree of the page of `address` looks like; a window of a phone's width.
fn dom(server: &crate::support::Server, address: &str) -> String {
    // As root, in a container, it has no sandbox to go into; the page is ours.
    let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"];
    let profile = format!("--user-data-dir={}", server.path("browser"));
    let rest = [&profile, "--window-size=390,844", "--timeout=20000", "--dump-dom", address];
    run(server, "chromium", &[&flags[..], &rest].concat()).expect_code(0).out()
}

#[test]
fn a_browser_shows_a_listing_with_ugly_names() {
    if !has("chromium") {
        return;
    }
    let server = node("", &[]);
    let ugly =
        ["<script>document.title='run'</script>", "a&amp;b \"c\"", "100% #1?.txt", "\u{202e}gpj.exe", "שלום.txt"];
    for name in ugly {
        // A slash ends a name.
        fs::write(server.share().join(name.replace('/', "|")), "x").unwrap();
    }
    fs::create_dir_all(server.share().join("deep/er")).unwrap();
    let page = dom(&server, &url(&server, ""));
    assert!(page.contains("<title>/share</title>"), "nothing ran: {page}");
    for shown in
        ["&lt;script&gt;document.title='run'&lt;|script&gt;", "a&amp;amp;b \"c\"", "100% #1?.txt", "\u{fffd}gpj.exe"]
    {
        assert!(page.contains(&format!("<bdi>{shown}</bdi></a>")), "{shown}: {page}");
    }
    assert!(page.contains("title=\"1000000 bytes\">1.0 MB</td>"), "{page}");
    assert!(page.contains("<a href=\"../\">shares</a> / <b><bdi>share</bdi></b>"), "{page}");
    let page = dom(&server, &url(&server, "deep/er/"));
    assert!(page.contains("<a href=\"../\"><bdi>deep</bdi></a>") && page.contains("nothing is here"), "{page}");
    // A file that is a page itself runs nothing.
    fs::write(server.share().join("run.html"), "<title>still</title><script>document.title='run'</script>").unwrap();
    let page = dom(&server, &url(&server, "run.html"));
    assert!(page.contains("<title>still</title>"), "{page}");
}

/// Width and height of a picture, as its first chunk says them.
fn dimensions(picture: &Path) -> [u32; 2] {
    let bytes = fs::read(picture).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n", "{}", picture.display());
    [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
}

#[test]
fn the_picture_of_a_listing_is_made_anew_by_its_script() {
    if !has("chromium") {
        return;
    }
    let (pictures, room) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures"), tempfile::tempdir().unwrap());
    let made = room.path().join("listing.png");
    Command::new(pictures.join("listing.sh")).arg(PROGRAM).arg(&made).output().unwrap().expect_code(0);
    // Letters look different on each machine; the window does not.
    assert_eq!(dimensions(&made), dimensions(&pictures.join("listing.png")));
}
