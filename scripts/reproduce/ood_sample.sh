#!/bin/sh
# Out of distribution, end to end on the drawn stand-in for CDDB, scenario `group` (known: the GAN folders): a classifier,
# an abnormality module that trains on synthetic outliers and three generators that leave the test, the whole zoo, report.
# A few minutes on two cores. With the real CDDB: ood_sample.sh data.root=/path/to/CDDB
set -eu
PYTHON=${PYTHON:-python}
OUT=${OUT:-outputs/ood-sample}
cd "$(dirname "$0")/../.."

$PYTHON train.py model=unet_scorer data=cddb run_dir="$OUT/classifier" "$@"
$PYTHON train.py model=abnormality model.base="$OUT/classifier" data=cddb "data.index.outliers=[crn,imle,san]" \
    posthoc=all run_dir="$OUT/abnormality" "$@"
