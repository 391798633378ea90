#!/usr/bin/env bash
# Makes a virtual environment with the tested versions; does nothing where it is up to date.
#
#   tools/make_env.sh FOLDER EXTRAS        tools/make_env.sh .venv experiment,test
#
# $PYTHON names the interpreter it is made from (python3, 3.10 or newer).
set -euo pipefail

folder=$1
extras=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}

fail() { echo "error: $*" >&2; exit 1; }

wanted=$(cat "$root/setup.py" "$root/constraints.txt" | cksum)
stamp="$folder/.complete-$extras"
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted $root" ] && exit 0

command -v "$python" >/dev/null ||
    fail "there is no $python; install Python 3.10 or newer, or name one with PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old; install Python 3.10 or newer, or name one with PYTHON=..."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python cannot make virtual environments; install its venv module (Debian: python3-venv)"
command -v cc >/dev/null || command -v gcc >/dev/null ||
    fail "there is no C compiler, which Asteroid's dependency pesq is built with (Debian: build-essential)"

echo "Setting up $folder ($extras); this takes a few minutes the first time."
"$folder/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$folder"
pip() { "$folder/bin/python" -m pip --disable-pip-version-check "$@"; }
# Torch first: what is there satisfies everybody who asks for some torch later.
pip install --quiet --constraint "$root/constraints.txt" torch "setuptools<82" wheel
pip install --quiet --constraint "$root/constraints.txt" --editable "$root[$extras]"
echo "$wanted $root" > "$stamp"
