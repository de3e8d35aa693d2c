#!/bin/sh
# Runs as USER in WORKDIR, with what is beside it; nothing that it writes is in the final image.
set -e
. "$(dirname "$0")/helper.sh"
test "$(id -un) $PWD" = "discourse /discourse"
test "$(greet)" = "hello from a tool"
test -d /srv/git/discourse
said_by_helper
touch left-by-test ~/left-by-test
