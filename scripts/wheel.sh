#!/bin/sh
# Builds the wheel and uses it as a stranger would: in empty environments, outside of the checkout, without git. The
# small set of the tests goes through every stage; with [training] a network is trained; with [report], too, all is shown.
set -eu
: "${PYTHONS:=python3 python3 python3}"  # of the base, the [training] and the whole installation
UV=$(command -v uv || echo "$PWD/.venv-uv/bin/uv")  # where setup.sh has put it
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$UV" build --quiet --out-dir "$work/dist" .
"$UV" tool run --quiet twine check --strict "$work"/dist/*
.venv/bin/python -c "import sys; from pathlib import Path
from tests.pipeline.small_world import write_world; write_world(Path(sys.argv[1]))" "$work/mine"
wheel=$(ls "$work"/dist/*.whl)

try() { # NAME PYTHON EXTRAS: a new environment, and nothing else on the path but the system's own programs
    "$UV" venv --quiet --python "$2" "$work/$1"
    "$UV" pip install --quiet --python "$work/$1" "$wheel$3"
    cd "$work"
    PATH="$work/$1/bin:$work/bin"
    python --version
    set -x
}
# What a shell needs and no more: no git, no compiler.
mkdir "$work/bin"
for name in sh env rm grep; do ln -s "$(command -v $name)" "$work/bin/$name"; done

(
    try base "$(echo $PYTHONS | cut -d' ' -f1)" ""
    noise-pipeline build --config mine/build.yaml --output out
    python -m pipeline verify out/dataset
    python -m pipeline export out/dataset --set-name red-0.20 --format folder --output pictures
    # What is not there is said, with what to install.
    python -m pipeline report out 2>&1 | grep -F "pip install 'duckdb"
    python -m training train --data out/dataset --set-name red-0.20 --output runs/one 2>&1 | grep -F "pip install 'safetensors"
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
echo "the wheel works"
