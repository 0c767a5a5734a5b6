#!/usr/bin/env bash
# Everything that needs a GPU, in one command of at most nine minutes: tests, equality of all paths, speed, a full-size
# training run on real patients. Each part has a time limit; a part that fails is recorded, and the next one is run.
#
# Usage: benchmarks/gpu.sh OUT
#
#   OUT                 folder for the results, outside the repository; the last thing written is OUT/summary.md
#   GPU=no              run on a CPU, at tiny sizes: a rehearsal
#   CROSSMOD_REAL_DATA  folder with ct_btcv and mr_chaos_t2spir; without it, training uses phantom patients
#   TOTAL               total time in seconds, without the summary (default 510)
#   PARTS               names of the parts to run, such as "tests paths" (default: all); training needs both stores
#   EPOCHS              number of training epochs (default: as many as fit)
#   WORK                folder for large temporary files (default: a temporary folder, removed at the end)
#   PYTHON              the interpreter (default: python or python3)
#
# OUT contains the summary as Markdown and JSON, all output in one file, images, and the weights of G1 as fp16: at most eight
# files of at most 16 MB. With real data the images show patients: never share them.
set -u
[ $# = 1 ] || { echo "Usage: benchmarks/gpu.sh OUT" >&2; exit 2; }
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
GPU=${GPU:-yes} TOTAL=${TOTAL:-510}
python=${PYTHON:-$(command -v python || command -v python3)}
own_work=
[ -n "${WORK:-}" ] || { WORK=$(mktemp -d) && own_work=yes; }
mkdir -p "$WORK"
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
rows=$WORK/rows.tsv
: > "$rows"
: > "$out/output.txt"
end=$((SECONDS + TOTAL))
child=

crossmod=("$python" -c "from crossmod.cli import main; main()")
# `slow`: factor for the time limits; a rehearsal may be on a slow or busy machine.
# `keep`: seconds that the parts before training reserve for it; `after`: seconds that training reserves for later parts.
if [ "$GPU" = no ]; then
    device=cpu slow=20 keep=40 after=30 scored=32
    model=(--preset tiny --size 32 --filters 4 --blocks 1 --device cpu)
    training=(--preset tiny --size 32 --generator-filters 4 --generator-blocks 1 --discriminator-filters 4 --device cpu)
    unet=(--preset tiny --size 32 --device cpu) steps=(--steps 2) paths=(cpu --no-compile)
else
    device=cuda slow=1 keep=200 after=80 scored=128
    model=(--preset rafiq2025 --device cuda)
    training=(--preset rafiq2025 --device cuda)
    unet=(--preset rafiq2025 --device cuda) steps=(--steps 100) paths=(cuda)
fi
real=${CROSSMOD_REAL_DATA:-}
[ -d "$real/ct_btcv" ] && [ -d "$real/mr_chaos_t2spir" ] || real=

report() { timeout -k 5 30 "$python" benchmarks/gpu_report.py "$@"; }

# part NAME LIMIT COMMAND...: run the command for at most LIMIT seconds; record its exit code and time.
part() {
    local name=$1 limit=$2 began=$SECONDS code
    shift 2
    [[ -z ${PARTS:-} || " $PARTS " == *" $name "* ]] || return 1
    [ $((end - SECONDS)) -lt "$limit" ] && limit=$((end - SECONDS))
    if [ "$limit" -lt 3 ]; then
        note "$name" skipped 0 0
        return 1
    fi
    printf '\n==== %s (at most %s s)\n' "$name" "$limit" >> "$out/output.txt"
    timeout -k 10 "$limit" "$@" >> "$out/output.txt" 2>&1 &
    child=$!
    wait "$child"
    code=$?
    child=
    note "$name" "$code" $((SECONDS - began)) "$limit"
    return "$code"
}

# Parts before training must not use the time reserved for training.
early() {
    local name=$1 limit=$(($2 * slow)) left=$((end - keep - SECONDS))
    shift 2
    part "$name" $((left < limit ? left : limit)) "$@"
}

late() {
    local name=$1 limit=$(($2 * slow))
    shift 2
    part "$name" "$limit" "$@"
}

note() {
    printf '%s\t%s\t%s\t%s\n' "$@" >> "$rows"
    echo "$1: $2 (124: out of time), $3 s of at most $4"
    table
}

# Update the table after every part, so that it is complete if this script is killed.
table() {
    {
        echo "| part | exit code | seconds | at most |"
        echo "| --- | --- | --- | --- |"
        awk -F '\t' '{ print "| " $1 " | " ($2 == 124 ? "124, out of time" : $2) " | " $3 " | " $4 " |" }' "$rows"
    } > "$out/summary.md"
}

finish() {
    trap - EXIT INT TERM HUP
    [ -n "$child" ] && kill "$child" 2> /dev/null && wait "$child"
    table
    # Write to another file first, so that the table is kept if the summary fails.
    report summary "$WORK" "$out" > "$WORK/summary.md" 2>> "$out/output.txt" && [ -s "$WORK/summary.md" ] &&
        cp "$WORK/summary.md" "$out/summary.md"
    cat "$out/summary.md"
    [ -n "$own_work" ] && rm -rf "$WORK"
    exit "$1"
}
trap 'note interrupted 129 0 0; finish 129' HUP
trap 'note interrupted 130 0 0; finish 130' INT
trap 'note interrupted 143 0 0; finish 143' TERM
trap 'finish $?' EXIT

early machine 45 "$python" benchmarks/gpu_report.py machine "$WORK/machine.json"
early doctor 40 "${crossmod[@]}" doctor
# Here, warnings of newer, untested library versions are shown and are not errors.
early tests 70 "$python" -m pytest -q -m gpu -W default -p no:cacheprovider --junit-xml "$WORK/tests.xml" \
    tests/engine/test_cuda_graph.py tests/engine/test_memory.py tests/engine/test_optimizers.py tests/data/test_batches.py
early paths 100 "$python" benchmarks/paths.py "${paths[@]}" --json "$WORK/paths.json"
early train-1 90 "${crossmod[@]}" bench train "${model[@]}" "${steps[@]}" --json "$WORK/train-1.json"
early train-4 80 "${crossmod[@]}" bench train "${model[@]}" "${steps[@]}" --batch-size 4 --json "$WORK/train-4.json"
early synthesize 45 "${crossmod[@]}" bench synthesize "${model[@]}" "${steps[@]}" --json "$WORK/synthesize.json"
early segment 40 "${crossmod[@]}" bench segment "${unet[@]}" "${steps[@]}" --json "$WORK/segment.json"

ct=$WORK/ct-store mr=$WORK/mr-store
if [ -n "$real" ]; then
    ct_images=$real/ct_btcv mr_images=$real/mr_chaos_t2spir image=image.nii.gz
else
    ct_images=$WORK/phantom/ct mr_images=$WORK/phantom/mr image=t2_spir.nii.gz
    size=$([ "$GPU" = no ] && echo 32 || echo 256)
    early phantom 60 "${crossmod[@]}" phantom "$WORK/phantom" --layout nifti --size "$size" --slices 8 --patients 6
fi
early ct-store 40 "${crossmod[@]}" prepare nifti "$ct_images" "$ct" --modality ct --name ct
early mr-store 40 "${crossmod[@]}" prepare nifti "$mr_images" "$mr" --modality mr --sequence t2_spir --name mr --image "{case}/$image"

# Hold out a fifth of the MR patients, or one patient if there are fewer than five.
patients=$(find "$mr_images" -mindepth 1 -maxdepth 1 -type d | wc -l)
training+=(--folds $((patients < 5 ? patients : 5)))
# The data sets are from different hospitals: equal numbers do not mean the same person.
people=()
timeout 30 "${crossmod[@]}" train --help 2> /dev/null | grep -q -e --same-people && people=(--same-people no)

# A short training run measures the startup and step time, and fills the compiler's cache.
early short-training 90 "${crossmod[@]}" train "$WORK/short" --ct "$ct" --mr "$mr" "${training[@]}" --epochs 2 --ct-slices 25 --mr-slices 25 "${people[@]}"
if [ -f "$WORK/short/card.json" ]; then
    report volume "$ct_images" "$WORK/volume.nii.gz" > "$WORK/volume.txt" 2>> "$out/output.txt"
    early translate 40 "${crossmod[@]}" translate "$WORK/short" "$WORK/volume.nii.gz" "$WORK/translated.nii.gz" --device "$device"
fi

# Training uses the remaining time, except the time reserved for the later parts.
for_training=$((end - SECONDS - after))
epochs=${EPOCHS:-$(report epochs "$WORK" "$ct" "$mr" "$for_training" 2>> "$out/output.txt")} || epochs=1
part training "$for_training" "${crossmod[@]}" train "$WORK/run" --ct "$ct" --mr "$mr" "${training[@]}" --epochs "$epochs" --sample-every 1 "${people[@]}"
late weights 20 "$python" benchmarks/gpu_report.py weights "$WORK/run" "$out"
late pictures 20 "$python" benchmarks/gpu_report.py pictures "$WORK/run" "$out"
if [ -f "$WORK/run/card.json" ]; then
    late synthetic 30 "${crossmod[@]}" synthesize "$WORK/run" --source "$ct" --out "$WORK/made" --device "$device" "${people[@]}"
    late scores 60 "${crossmod[@]}" evaluate images "$mr" "$WORK/made" --source "$ct" --out "$WORK/scores" --draws 100 --size "$scored"
fi
exit 0
