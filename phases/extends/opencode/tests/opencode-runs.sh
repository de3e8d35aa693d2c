#!/bin/sh
# The agent is installed, and runs as the habitat's user.

set -e
opencode --version
