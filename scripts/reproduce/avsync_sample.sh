#!/bin/sh
# Lips and voice, end to end on the drawn heads that stand in for FakeAVCeleb: a synchroniser, the detector over it, and
# a control whose detector hears another clip's sound (AUC about 0.5).
# With the real one: avsync_sample.sh data.root=/path/to/FakeAVCeleb_v1.2
set -eu
PYTHON=${PYTHON:-python}
OUT=${OUT:-outputs/avsync-sample}
cd "$(dirname "$0")/../.."

$PYTHON train.py model=avsync data=fakeavceleb run_dir="$OUT/sync" "$@"
$PYTHON train.py model=av_anomaly model.base="$OUT/sync" data=fakeavceleb run_dir="$OUT/anomaly" "$@"
$PYTHON eval.py run="$OUT/anomaly" +data.loader.shuffle_sound=true output="$OUT/control"
