#!/bin/sh
# TALL's tables: trained on FaceForensics++ c23, tested on it and on Celeb-DF-v2; then the ablations.
# usage: scripts/reproduce/tall.sh /data/FaceForensics++ /data/Celeb-DF-v2 [more overrides, as trainer=gpu]
set -eu
if [ $# -lt 2 ]; then
    sed -n '2,3s/^# //p' "$0"
    exit 2
fi
ffpp=$1 celebdf=$2
shift 2
for recipe in tall_ffpp_official tall_ffpp; do
    for seed in 1 2 3; do
        name=${recipe}_seed$seed
        python train.py "experiment=$recipe" "seed=$seed" "name=$name" "data.root=$ffpp" "$@"
        python eval.py "run=outputs/$name" data=celebdf "data.root=$celebdf"
    done
done
python train.py -m 'experiment=glob(tall_ablation_*)' seed=1,2,3 "data.root=$ffpp" "$@"
dfd-report outputs/tall_ffpp* --output outputs/tall
