# The steps of .ci/run, one recipe each; `just ci` is what CI runs.

# everything CI runs
ci:
    .ci/run

# what CI needs from Debian
packages:
    .ci/run packages

# the whole workspace's tests
test:
    .ci/run tests

# formatting, without changing anything
format:
    .ci/run format

# clippy, warnings are errors
lint:
    .ci/run lint

# the documentation, warnings are errors
doc:
    .ci/run doc

# licences, banned crates, registries
deny:
    .ci/run deny

# known vulnerabilities; needs to reach the advisory database, so it is no part of CI
audit:
    cargo deny check advisories

# a node on embedded defaults
serve *arguments:
    cargo run --release -- serve {{arguments}}

# the figures beside nginx, lighttpd and libtorrent, into benches/README.md: all (2 hours), or some: just field 5000x200 idle
field *parts:
    cargo bench --bench field -- {{parts}} --write benches/README.md
