#!/bin/sh
# Redis answers, and keeps a value.

set -e
redis-server --version
redis-cli set habitat test
[ "$(redis-cli get habitat)" = test ]
redis-cli del habitat
