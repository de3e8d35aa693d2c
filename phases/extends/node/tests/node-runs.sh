#!/bin/sh
# Node and npm run as the habitat's user.

set -e
node --version
npm --version
