#!/bin/sh
# Builds the wheel and tests it in empty environments, outside the checkout and without git. The small dataset of the tests
# runs through every stage; with [training] a network is trained; with [report] the pages are written as well.
set -eu
: "${PYTHONS:=python3 python3 python3}"  # for the base, the [training] and the full installation
UV=$(command -v uv || echo "$PWD/.venv-uv/bin/uv")  # installed by setup.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$UV" build --quiet --out-dir "$work/dist" .
"$UV" tool run --quiet twine check --strict "$work"/dist/*
.venv/bin/python -c "import sys; from pathlib import Path
from tests.pipeline.small_world import write_world; write_world(Path(sys.argv[1]))" "$work/mine"
wheel=$(ls "$work"/dist/*.whl)

try() { # NAME PYTHON EXTRAS: create an environment, with only it and a few system programs on the PATH
    "$UV" venv --quiet --python "$2" "$work/$1"
    "$UV" pip install --quiet --python "$work/$1" "$wheel$3"
    cd "$work"
    PATH="$work/$1/bin:$work/bin"
    python --version
    set -x
}
# Only what a shell needs: no git and no compiler.
mkdir "$work/bin"
for name in sh env rm grep; do ln -s "$(command -v $name)" "$work/bin/$name"; done

(
    try base "$(echo $PYTHONS | cut -d' ' -f1)" ""
    noise-pipeline build --config mine/build.yaml --output out
    python -m pipeline verify out/dataset
    python -m pipeline export out/dataset --set-name red-0.20 --format folder --output pictures
    # Missing extras are reported with the command that installs them.
    python -m pipeline report out 2>&1 | grep -F "pip install 'duckdb"
    python -m training train --data out/dataset --set-name red-0.20 --output runs/one 2>&1 | grep -F "'safetensors"
)
(
    try training "$(echo $PYTHONS | cut -d' ' -f2)" "[training]"
    noise-training train --data out/dataset --set-name red-0.20 --recipe tiny --set batch_size=16 --set epochs=1 --output runs/one
    python -m training evaluate --data out/dataset --run runs/one
)
(
    try all "$(echo $PYTHONS | cut -d' ' -f3)" "[training,report]"
    python -m pipeline report out
    python -m pipeline view --help
    python -m training study --data out/dataset --levels 0 0.2 --methods vanilla mentormix --seeds 0 --recipe tiny \
        --set batch_size=16 --set epochs=1 --output study
    python -m training plot study
    python -m training report study
)
# From a checkout, without an installation.
"$UV" tool run --quiet --from . noise-pipeline --version
rm -rf build
echo "the wheel works"
