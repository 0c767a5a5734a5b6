#!/usr/bin/env bash
# Labelled CT from one hospital to T2-SPIR from another, at a size for two CPU cores: does it help a small U-Net?
#
#   CROSSMOD_REAL_DATA  folder with ct_btcv and mr_chaos_t2spir, each <case>/{image,label}.nii.gz and labels.json
#   OUT                 output folder (default: real_liver_small); rerun the script to resume
#   FRAME               body (default): equal pixel size around the body; stretch: whole fields, as in earlier versions
#   EPOCHS, STEPS, SEEDS  epochs of the translators, steps and seeds of the segmenters (default: 4, 1500, "0 1 2")
#
# Works with any number of patients. Never share the output: the images show patients.
set -euo pipefail
data=${CROSSMOD_REAL_DATA:?names no folder}
out=${OUT:-real_liver_small}
frame=${FRAME:-body}
mkdir -p "$out"

[ -f "$out/ct/manifest.json" ] || crossmod prepare nifti "$data/ct_btcv" "$out/ct" --modality ct --name btcv
[ -f "$out/mr/manifest.json" ] || crossmod prepare nifti "$data/mr_chaos_t2spir" "$out/mr" --modality mr --sequence t2_spir --name chaos-mr

# One third of the MR patients are held out from everything. A translator uses the MR labels only to select the slices that
# show the liver.
# The data sets are from two hospitals: equal numbers do not mean the same person.
split="--folds 3 --fold 0 --same-people no"
for family in essnet cyclegan; do
  crossmod train "$out/$family" --ct "$out/ct" --mr "$out/mr" --preset tiny --family $family --size 96 --frame "$frame" \
    --epochs "${EPOCHS:-4}" $split
  [ -f "$out/$family-mr/manifest.json" ] || crossmod synthesize "$out/$family" --source "$out/ct" --out "$out/$family-mr"
done
# All arms use the same pixel size in millimetres. 714 synthetic slices, as in docs/log.md, or all slices that both
# translators made, if few CT patients give fewer.
found=$(python - "$out"/essnet/card.json "$out"/{essnet,cyclegan}-mr/manifest.json <<'END'
import json, sys
from pathlib import Path

card, *stores = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
count = min(714, *(sum(case["shape"][0] for case in store["cases"]) for store in stores))
print(count, card["settings"]["pixel_mm"])
END
)
read -r count pixel_mm <<<"$found"
for seed in ${SEEDS:-0 1 2}; do
  common="--preset tiny --size 96 --frame $frame --pixel-mm $pixel_mm --steps ${STEPS:-1500} --seed $seed $split"
  crossmod segment "$out/real-$seed" --real "$out/mr" $common
  for family in essnet cyclegan; do
    crossmod segment "$out/$family-$seed" --real "$out/mr" --synthetic "$out/$family-mr" --count "$count" $common
  done
done

# Where a segmenter trained on real MR only finds the liver in the synthetic slices: Dice with the labels, and shift.
crossmod evaluate images "$out/mr" "$out/essnet-mr" "$out/cyclegan-mr" --source "$out/ct" --segmenter "$out/real-0" \
  --draws 200 --out "$out/judged"
crossmod report "$out"/{essnet,cyclegan} "$out"/{real,essnet,cyclegan}-[0-9] "$out/judged" --out "$out/report.html"
