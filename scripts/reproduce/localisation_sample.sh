#!/bin/sh
# Where is it forged, end to end on the rendered clips that stand in for LAV-DF and TVIL: three localisers, one on
# inpainted pictures, and a control that learned from the stretches of other files (what it finds is chance).
# With the real one: localisation_sample.sh data.root=/path/to/LAV-DF data/features=tsn_byola
set -eu
PYTHON=${PYTHON:-python}
OUT=${OUT:-outputs/localisation-sample}
cd "$(dirname "$0")/../.."

for model in ummaformer actionformer auvire; do
    $PYTHON train.py model=$model data=lavdf run_dir="$OUT/$model" "$@"
done
$PYTHON train.py model=actionformer data=lavdf shuffle_labels=true run_dir="$OUT/control" "$@"
if [ $# = 0 ]; then
    $PYTHON train.py model=actionformer data=tvil run_dir="$OUT/tvil"
fi
$PYTHON -m dfd.cli.report "$OUT"/* --output "$OUT/board"
