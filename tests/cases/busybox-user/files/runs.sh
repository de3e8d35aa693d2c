#!/bin/sh
# A test may live anywhere in the habitat's folder.
test "$(id -un) $PWD" = "dev /work/project"
