#!/bin/bash
# A distilled run on 1 to 2 nodes of 8 GPUs, which goes on when it is started again: sbatch examples/slurm.sh
#SBATCH --job-name=distil
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -euo pipefail

: "${CONFIG:?name the config, such as my_config.py}" "${DATA:?name the folder of the training images}"
: "${TEACHER:?name the teacher file}" "${OUTPUT:?name a folder that all nodes share}"
RECIPE=${RECIPE:-recommended_onnx}

# A node that comes back would wait in vain for the address of the first.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun torchrun --nnodes "1:$SLURM_NNODES" --nproc_per_node 8 --max_restarts 100 \
    --rdzv_backend c10d --rdzv_endpoint "$FIRST:29500" --rdzv_id "$SLURM_JOB_ID" \
    -m insightface_cakd train "$CONFIG" --data "$DATA" --distill "$RECIPE" --teacher "$TEACHER" --output "$OUTPUT" --auto-resume
