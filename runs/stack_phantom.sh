#!/usr/bin/env bash
# Are slices more consistent, and closer to the truth, if networks see three at once (--stack 3)?
# EssNet on the phantom, with and without stacks, two seeds, on patients that were not used in training and have a known truth.
# Usage: runs/stack_phantom.sh OUT     (about 25 minutes on two cores; docs/log.md has a result)
#
#   EPOCHS   epochs of each model (default 12)
set -euo pipefail
out=$1
mkdir -p "$out"
export OMP_NUM_THREADS=1
[ -d "$out/main" ] || crossmod phantom "$out/main" --size 64 --slices 24 --ct-patients 12 --mr-patients 12
[ -f "$out/main-store/manifest.json" ] ||
    crossmod prepare chaos "$out/main" "$out/main-store" --name main --sequences ct t2_spir
# The same patients in both modalities, for the truth.
if [ ! -f "$out/pairs-store/manifest.json" ]; then
    crossmod phantom "$out/pairs" --size 64 --slices 24 --patients 6 --paired --seed 7 --layout nifti
    crossmod prepare nifti "$out/pairs/ct" "$out/pairs-store" --modality ct --name pairs
    crossmod prepare nifti "$out/pairs/mr" "$out/pairs-store" --modality mr --name pairs --sequence t2_spir \
        --image t2_spir.nii.gz --append
fi

model() {
    source=$1 stack=$2 seed=$3 name=$1-$2-$3
    crossmod train "$out/$name" --ct "$out/main-store" --mr "$out/main-store" --preset tiny --source "$source" \
        --stack "$stack" --seed "$seed" --slices all --epochs "${EPOCHS:-12}" 2> "$out/$name.log"
    [ -f "$out/$name-made/manifest.json" ] ||
        crossmod synthesize "$out/$name" --source "$out/pairs-store" --out "$out/$name-made" --slices all 2>> "$out/$name.log"
}
for source in ct mr; do
    for stack in 1 3; do
        for seed in 0 1; do
            model "$source" "$stack" "$seed" &
            # Run two at a time, with one thread each.
            while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
        done
    done
done
wait

for source in ct mr; do
    made=()
    for stack in 1 3; do for seed in 0 1; do made+=("$out/$source-$stack-$seed-made"); done; done
    crossmod evaluate images "$out/main-store" "${made[@]}" --source "$out/pairs-store" --truth "$out/pairs-store" --out "$out/judged-$source"
done
crossmod report "$out/judged-ct" "$out/judged-mr" --out "$out/report.html"
