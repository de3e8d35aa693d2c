#!/bin/sh
test "$EDITOR" = nano
