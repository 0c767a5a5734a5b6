#!/usr/bin/env bash
# The speed table of docs/log.md on this machine: checks that the shipped path and plain PyTorch compute the same, then times both.
# Usage: benchmarks/speed_table.sh OUT     (about 5 minutes on two cores; on a GPU once for `--device cuda`)
set -euo pipefail
out=$1
mkdir -p "$out"
full="--preset rafiq2025 --size 256 --filters 64 --blocks 9"
crossmod doctor --json "$out/doctor.json"
crossmod bench train $full --precision bf16 --compile on --json "$out/train-batch-1.json"
if [ "${GPU:-no}" = yes ]; then
    # 350 images x 100 epochs at batch 4 are 8750 steps: their time is 8750 times a step, and the first steps once.
    crossmod bench train $full --batch-size 4 --precision bf16 --compile on --json "$out/train-batch-4.json"
fi
crossmod bench synthesize $full --precision bf16 --json "$out/synthesize.json"
crossmod bench segment --preset rafiq2025 --precision bf16 --json "$out/segment.json"
python "$(dirname "$0")/reading.py"
python "$(dirname "$0")/memory.py"
(cd "$(dirname "$0")" && python training_memory.py full bf16 3)
