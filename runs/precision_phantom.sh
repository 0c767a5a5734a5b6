#!/usr/bin/env bash
# Does bf16 train as well as fp32? EssNet on the phantom, three seeds each, scored on patients that were not used in training.
# Usage: runs/precision_phantom.sh OUT     (about 10 minutes on two cores; docs/log.md has a result)
set -euo pipefail
out=$1
mkdir -p "$out"
export OMP_NUM_THREADS=1
crossmod phantom "$out/phantom" --size 64 --ct-patients 10 --mr-patients 12 --slices 24
crossmod prepare chaos "$out/phantom" "$out/store" --sequences ct t2_spir
for seed in 0 1 2; do
    for precision in fp32 bf16; do
        crossmod train "$out/$precision-$seed" --ct "$out/store" --mr "$out/store" --preset tiny --seed "$seed" \
            --precision "$precision" --select-every 1 --select-patients 2 2> "$out/$precision-$seed.log" &
    done
    wait
done
python - "$out" <<'END'
import json, statistics, sys
from pathlib import Path

names = ("cycle_ct", "segmentation", "discriminator_mr", "select_consistency", "select_cycle", "select_frechet", "select_score")
print("| precision, seed |", " | ".join(names), "|")
print("| --- |" + " --- |" * len(names))
for precision in ("fp32", "bf16"):
    rows = []
    for seed in range(3):
        readings = [json.loads(line) for line in (Path(sys.argv[1]) / f"{precision}-{seed}/metrics.jsonl").open()]
        last = max(reading["epoch"] for reading in readings)
        rows.append([statistics.mean(r[n] for r in readings if r["epoch"] == last and n in r) for n in names])
        print(f"| {precision}, {seed} |", " | ".join(f"{value:.3f}" for value in rows[-1]), "|")
    print(f"| {precision}, mean |", " | ".join(f"{statistics.mean(column):.3f}" for column in zip(*rows)), "|")
END
