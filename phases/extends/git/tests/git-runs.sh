#!/bin/sh
# All programs run as the habitat's user.

set -e
git --version
git lfs version
gh --version
rg --version
jq --version
ps --version
