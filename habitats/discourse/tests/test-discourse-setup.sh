#!/bin/sh
# What an agent needs to begin: its tool, and the repository on the branch that was asked for.
set -e
claude --version
test "$(git -c safe.directory=/discourse -C /discourse branch --show-current)" = main
