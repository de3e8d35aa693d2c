#!/bin/sh
# Python, pip and uv run as the habitat's user, who can make environments.

set -e
python --version
uv --version
folder=$(mktemp -d)
python -m venv "$folder/venv"
"$folder/venv/bin/pip" --version
