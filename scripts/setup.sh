#!/bin/sh
# Makes $VENV with the locked versions and this project in it. Needs Python 3.11 or newer, with pip.
set -eu
: "${PYTHON:=python3}" "${VENV:=.venv}" "${LOCK:=requirements.lock}"

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed, $("$PYTHON" --version) was found; name one: make PYTHON=python3.12 …" >&2
    exit 1
}
if command -v uv >/dev/null 2>&1; then
    UV=uv
else
    # A virtual environment without the venv module of some distributions is not to be had: pip alone must do.
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$VENV-uv" 'uv>=0.8'
    UV="$VENV-uv/bin/uv"
fi
"$UV" venv --quiet --clear --python "$PYTHON" "$VENV"
# Compiled once, here: worker processes import Beam, which is seconds faster then.
"$UV" pip install --quiet --compile-bytecode --python "$VENV" --require-hashes -r "$LOCK"
"$UV" pip install --quiet --python "$VENV" --no-deps -e .
