#!/usr/bin/env bash
# All that is asked of a CUDA GPU in half an hour. Each step ends within ten minutes and can be repeated: it goes on from
# its own files.
#   here, with a network:  benchmarks/gpu.sh prepare IMAGES.tar.xz   wheels and images into runs/.gpu, to be carried there
#   on the GPU's machine:  benchmarks/gpu.sh test                    does it work?        3 minutes
#                          benchmarks/gpu.sh speed                   how fast is it?      5 minutes
#                          benchmarks/gpu.sh paper [OPTIONS]         the paper's scale    9 minutes, again until nothing is missing
#   here:                  benchmarks/gpu.sh collect FOLDER [TARGET] tables into results/paper
# That machine needs Python with torch, torchvision, numpy, pandas, scikit-learn, scipy, safetensors, tqdm, pyyaml and
# pytest; it has no network, and neither snakemake nor papermill nor jupytext. OUT is the folder that is brought back.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-runs/gpu}

# what was carried, made ready; nothing where nothing was carried
unpack() {
    local site=runs/.site
    if compgen -G 'runs/.gpu/*.whl' >/dev/null && [[ ! -d $site ]]; then
        "$python" -m pip install --quiet --no-index --no-deps --target "$site" runs/.gpu/*.whl
    fi
    if [[ -f runs/.gpu/images.tar.xz && ! -d data/cifar10 ]]; then
        mkdir -p data/.cifar10 && tar -xJf runs/.gpu/images.tar.xz -C data/.cifar10 && mv data/.cifar10 data/cifar10
    fi
    export PYTHONPATH=$PWD:$PWD/$site${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
}

# kernels of several processes at once, where NVIDIA's MPS is installed: they take turns otherwise
share() {
    command -v nvidia-cuda-mps-control >/dev/null || return 0
    CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d)
    export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
    if nvidia-cuda-mps-control -d; then
        trap 'echo quit | nvidia-cuda-mps-control' EXIT
    else
        unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    fi
}

case ${1:-} in
prepare)
    mkdir -p runs/.gpu
    rm -f runs/.gpu/*.whl
    for name in pydantic pydantic-core annotated-types typing-inspection; do
        "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
            --platform manylinux_2_17_x86_64 --dest runs/.gpu "$(grep -i "^$name==" constraints.txt)"
    done
    cp "$2" runs/.gpu/images.tar.xz
    echo "Carry runs/.gpu and runs/smoke/tables:"
    du -sh runs/.gpu runs/smoke/tables
    ;;
test)
    unpack
    mkdir -p "$out"
    "$python" -m pytest --noconftest -p no:cacheprovider tests/sacutils/test_cuda.py 2>&1 | tee "$out/tests.txt"
    ;;
speed)
    unpack
    mkdir -p "$out"
    # the first round pays for what is done once; the best of all rounds counts
    "$python" -m benchmarks.training --device cuda --images 10000 --rounds 2 --out "$out"
    "$python" -m benchmarks.card "${@:2}" 2>&1 | tee "$out/speed.txt"
    ;;
paper)
    unpack
    share
    "$python" -m benchmarks.paper --to "$out" "${@:2}"
    ;;
collect)
    target=${3:-results/paper}
    mkdir -p "$target"
    cp "$2"/{zoo,distances,auc,sibling_test}.csv "$2"/record.json "$target"
    for name in tests.txt speed.txt training-cuda.json; do
        if [[ -f $2/$name ]]; then cp "$2/$name" "$target"; fi
    done
    ls "$target"
    ;;
*)
    sed -n '2,10s/^# \?//p' "$0"
    exit 2
    ;;
esac
