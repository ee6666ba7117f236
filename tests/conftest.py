import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in two processes on two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
