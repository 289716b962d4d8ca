#!/bin/sh
# Creates the virtual environment $VENV with the versions of $LOCK (one file, or several) and this project.
# Needs Python 3.11 or newer with pip.
set -eu
: "${PYTHON:=python3}" "${VENV:=.venv}" "${LOCK:=requirements.lock}"

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed, found $("$PYTHON" --version); choose another: make PYTHON=python3.12 …" >&2
    exit 1
}
if command -v uv >/dev/null 2>&1; then
    UV=uv
else
    # Some distributions lack the venv module, so uv is installed with pip alone.
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$VENV-uv" 'uv>=0.8'
    UV="$VENV-uv/bin/uv"
fi
"$UV" venv --quiet --clear --python "$PYTHON" "$VENV"
# Compile bytecode now: worker processes then import Beam seconds faster.
for lock in $LOCK; do
    "$UV" pip install --quiet --compile-bytecode --python "$VENV" --require-hashes -r "$lock"
done
"$UV" pip install --quiet --python "$VENV" --no-deps -e .
