#!/bin/sh
# The detectors that a user would pick today, trained on FaceForensics++ (c23) and tested on other datasets, with a
# linear probe beside them: modern.sh /data/FaceForensics++ /data/Celeb-DF-v2 /data/DFDC. A GPU of 24 GB each; hours.
set -eu
PYTHON=${PYTHON:-python}
OUT=${OUT:-outputs/modern}
FFPP=$1
CELEBDF=$2
DFDC=$3
cd "$(dirname "$0")/../.."

for model in probe efficientnet xception gend effort lora sbi vim; do
    $PYTHON train.py model=$model data=ffpp data.root="$FFPP" trainer=gpu run_dir="$OUT/$model"
    $PYTHON eval.py run="$OUT/$model" "data=[celebdf,dfdc]" "roots={celebdf: $CELEBDF, dfdc: $DFDC}"
done
$PYTHON -m dfd.cli.report "$OUT"/* --output "$OUT/board" # every pair tested on the same videos
