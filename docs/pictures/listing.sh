#!/usr/bin/env bash
# Makes listing.png anew, the picture of a listing: a node that shares a small tree, and Chromium without a window.
#
#     docs/pictures/listing.sh [PROGRAM [PICTURE]]
#
# PROGRAM is target/release/evenkeel where none is named.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(realpath "${1:-target/release/evenkeel}")
picture=$(realpath -m "${2:-docs/pictures/listing.png}")
room=$(mktemp -d)
node=
finish() {
    # Again until it has gone: a signal is lost to a process that is about to become the program.
    while [[ $node ]] && kill "$node" 2>/dev/null; do
        sleep 0.1
    done
    rm -rf "$room"
}
trap finish EXIT

mkdir "$room/library"
# Files without blocks: sizes and dates are what is seen of them.
while IFS='|' read -r size changed name; do
    truncate -s "$size" "$room/library/$name"
    touch -d "$changed" "$room/library/$name"
done <<'FILES'
4187201|2026-02-27T16:41:09Z|Annual report 2025 (final, with the appendix on who paid for what, and every table in its full length).pdf
88213|2026-03-31T17:05:00Z|Prüfung & Übersicht – März.ods
576|2026-01-04T08:00:00Z|README.txt
52613349376|2026-11-01T03:00:12Z|backup-2026-10.tar.zst
412316860|2025-06-30T19:45:00Z|concert.flac
784334848|2026-09-06T10:22:41Z|debian-13.2.0-amd64-netinst.iso
0|2024-02-29T12:34:56Z|empty.log
18203|2026-08-01T09:00:00Z|index.html
3641092|2026-07-19T14:03:12Z|photo 2026-07-19 14.03.jpg
64|2026-09-06T10:23:00Z|sha256sums
20480|2025-11-30T21:10:00Z|дневник наблюдений.txt
999|2026-04-18T12:00:00Z|שלום.txt
FILES
for name in albums archive Übungen; do
    mkdir "$room/library/$name"
    touch -d 2026-10-31T08:15:00Z "$room/library/$name"
done

: >"$room/said"
"$program" serve --share "library=$room/library" --open --state "$room/state" --http 127.0.0.1:0 --listen 127.0.0.1:0 \
    --admin 127.0.0.1:0 --metrics 127.0.0.1:0 >>"$room/said" 2>&1 &
node=$!
address=
for _ in {1..300}; do
    address=$(awk '$1 == "http" { print $2 }' "$room/said")
    [[ $address ]] && break
    sleep 0.1
done
[[ $address ]] || { cat "$room/said" >&2; exit 1; }

# As root, in a container, it has no sandbox to go into; the page is ours.
HOME=$room timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-proxy-server \
    --hide-scrollbars --user-data-dir="$room/browser" --window-size=960,744 --screenshot="$picture" "${address}library/" \
    >"$room/browser.log" 2>&1 || { cat "$room/browser.log" >&2; exit 1; }
