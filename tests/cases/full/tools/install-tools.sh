#!/bin/sh
# Runs as USER in the folder the tools were copied to.
set -e
echo "$(id -un) in $PWD" >installed
printf '#!/bin/sh\necho "made by install-tools.sh"\n' >bin/made
chmod +x bin/made
