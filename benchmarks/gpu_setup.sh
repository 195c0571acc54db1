#!/usr/bin/env bash
# What benchmarks/gpu.py needs on a GPU machine without a network, carried there as wheels.
#
#   bash benchmarks/gpu_setup.sh pack               where there is a network: fills .whl/ (git ignores it)
#   bash benchmarks/gpu_setup.sh run out.jsonl ...  there: installs .whl/ into a folder and runs gpu.py with the rest
#
# The machine has Python 3.12, torch, triton, transformers, accelerate, peft, safetensors, tokenizers, numpy, scipy,
# pyarrow, pandas, matplotlib, rich, typer, jinja2, filelock, PyYAML, xxhash and pytest with its timeouts. So of what this
# package needs (pyproject.toml) pydantic alone is missing, of the peers trl, liger-kernel and datasets. Nothing else is
# replaced: torch and transformers stay as they are there. PYTHON names another interpreter than python3.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
wheels=.whl
largest_mb=60

missing=(pydantic pydantic-core annotated-types typing-inspection) # this package's own
peers=(trl liger-kernel datasets dill multiprocess)
others=(gguf) # reads SmolLM2's weights

pack() {
    rm -rf "$wheels"
    mkdir -p "$wheels"
    # `--no-deps`: the versions of everything else are the machine's. Those here are the tested ones.
    local platforms=(--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp "${platforms[@]}" -c constraints.txt --dest "$wheels" \
        "${missing[@]}" "${others[@]}" "${peers[@]/#trl/trl==1.16.*}"
    git rev-parse HEAD >"$wheels/COMMIT"
    local megabytes
    megabytes=$(du -sm "$wheels" | cut -f1)
    ls -l "$wheels"
    if [ "$megabytes" -ge "$largest_mb" ]; then
        echo "$wheels holds $megabytes MB, and parts of $largest_mb MB travel: split it" >&2
        exit 1
    fi
}

run() {
    local out=${1:?name the file that results are appended to} site
    shift
    site=$(mktemp -d)
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$site" \
        "$wheels"/*.whl
    PYTHONPATH="$site:$PWD/src${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false \
        "$python" benchmarks/gpu.py --out "$out" "$@"
}

case ${1:-} in
pack) pack ;;
run) run "${@:2}" ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
