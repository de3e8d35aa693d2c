#!/bin/sh
echo WORD in "$(pwd)" as "$(id -un)" "$@"
