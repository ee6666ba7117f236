#!/bin/sh
# The DFDC winner's five seeds and the hybrid that the first of them teaches: DFDC=/data/dfdc scripts/reproduce/dfdc.sh
set -eu
for seed in 111 555 777 888 999; do
    python train.py experiment=dfdc_winner data.root="$DFDC" seed="$seed" name="dfdc_b7_$seed" trainer.devices="${GPUS:-1}"
done
for seed in 111 555 777 888 999; do
    python train.py experiment=dfdc_hybrid data.root="$DFDC" seed="$seed" name="dfdc_hybrid_$seed" \
        teacher.run=outputs/dfdc_b7_111 trainer.devices="${GPUS:-1}"
done
dfd-report outputs/dfdc_b7_* outputs/dfdc_hybrid_* --output outputs/dfdc
