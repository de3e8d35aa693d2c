#!/bin/sh -e
# Prepare the clone of the bundle $1, of a repository of the person's machine. clone.sh follows.
#
# Where that is a shallow clone, $1.shallow has the commits at which the history ends. A template of git brings the file
# into the clone before git looks for the parents of these commits.

case $1 in
"~"*)
    bundle=$HOME${1#"~"}
    shift
    set -- "$bundle" "$@"
    ;;
esac
if [ -f "$1.shallow" ]; then
    export GIT_TEMPLATE_DIR="$1.template"
    mkdir -p "$GIT_TEMPLATE_DIR/info"
    mv "$1.shallow" "$GIT_TEMPLATE_DIR/shallow"
fi
