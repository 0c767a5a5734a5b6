#!/usr/bin/env bash
# The seven models of Crespi et al. on phantom patients, evaluated without pairs: MR of one to three sequences to CT.
# Usage: runs/crespi_phantom.sh OUT     (under 30 minutes on two cores; docs/log.md has a result)
#
#   EPOCHS   epochs of each model (default 10)
#
# Half of the CT patients are held out from training; the real-to-real comparison uses them.
set -euo pipefail
out=$1
mkdir -p "$out"
export OMP_NUM_THREADS=1

# CT with contrast agent and MR from one hospital; CT without contrast agent from another; T1 from a third.
phantom() { [ -d "$out/$1" ] || crossmod phantom "$out/$1" --size 64 --slices 24 "${@:2}"; }
store() { [ -f "$out/$1-store/manifest.json" ] || crossmod prepare chaos "$out/$1" "$out/$1-store" --name "$1" "${@:2}"; }
phantom main --ct-patients 12 --mr-patients 10
phantom plain --ct-patients 12 --mr-patients 1 --seed 1 --ct-contrast no
phantom second --ct-patients 1 --mr-patients 6 --seed 2 --mr-source 2
store main
store plain --sequences ct --contrast no
store second --sequences t1_in

model() {
    name=$1 ct=$2
    mr=("$out/main-store")
    [ "$name" = in_phase_plus ] && mr+=("$out/second-store")
    crossmod train "$out/$name" --ct "$out/$ct-store" --mr "${mr[@]}" --preset "tiny_$name" --folds 2 \
        --epochs "${EPOCHS:-10}" 2> "$out/$name.log"
    [ -f "$out/$name-ct/manifest.json" ] ||
        crossmod synthesize "$out/$name" --source "$out/main-store" --out "$out/$name-ct" --slices all
}
with_contrast="all_in in_phase in_phase_plus t2 in_n_out triple"
for name in $with_contrast; do
    model "$name" main &
    # Run two at a time, with one thread each.
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
done
model in_n_out_hum plain &
wait

synthetic=()
for name in $with_contrast; do synthetic+=("$out/$name-ct"); done
crossmod evaluate images "$out/main-store" "${synthetic[@]}" --source "$out/main-store" --unseen --out "$out/judged"
crossmod evaluate images "$out/plain-store" "$out/in_n_out_hum-ct" --source "$out/main-store" --unseen --out "$out/judged-plain"
crossmod evaluate compare "$out/judged" "$out/judged-plain" --json "$out/ranking.json"
crossmod report "$out/judged" "$out/judged-plain" --out "$out/report.html"
