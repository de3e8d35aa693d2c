#!/bin/sh
# Chromium renders a page as the habitat's user.

set -e
chromium --version
page=$(chromium --headless --disable-gpu --dump-dom 'data:text/html,<p id=x></p><script>x.textContent=6*7</script>')
case $page in *42*) echo "rendered" ;; *) echo "$page" >&2; exit 1 ;; esac
