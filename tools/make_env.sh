#!/usr/bin/env bash
# Create or update a virtual environment with the tested versions.
#
#   tools/make_env.sh FOLDER EXTRAS        tools/make_env.sh .venv experiment,test
#
# $PYTHON is the interpreter to use (default python3; 3.10 or newer).
set -euo pipefail

folder=$1
extras=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}

fail() { echo "error: $*" >&2; exit 1; }

expected=$(cat "$root/setup.py" "$root/constraints.txt" | cksum)
stamp="$folder/.complete-$extras"
[ "$(cat "$stamp" 2>/dev/null)" = "$expected $root" ] && exit 0

command -v "$python" >/dev/null ||
    fail "$python not found; install Python 3.10 or newer, or set PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old; install Python 3.10 or newer, or set PYTHON=..."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python lacks the venv module (Debian: apt install python3-venv)"
command -v cc >/dev/null || command -v gcc >/dev/null ||
    fail "no C compiler found; Asteroid's dependency pesq needs one (Debian: apt install build-essential)"

echo "Setting up $folder ($extras); this takes a few minutes the first time."
"$folder/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$folder"
pip() { "$folder/bin/python" -m pip --disable-pip-version-check "$@"; }
# Torch first: it then satisfies every later requirement of torch.
pip install --quiet --constraint "$root/constraints.txt" torch "setuptools<82" wheel
pip install --quiet --constraint "$root/constraints.txt" --editable "$root[$extras]"
echo "$expected $root" > "$stamp"
