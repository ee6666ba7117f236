# dfd with its server. CPU: docker build -t dfd .
# CUDA: docker build -t dfd:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
# docker run --rm -p 8000:8000 -v "$PWD/outputs:/work/outputs" dfd dfd-serve run=outputs/demo host=0.0.0.0 key=...
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

RUN pip install torch torchvision --index-url "$TORCH_INDEX"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY src src
RUN pip install ".[serve,export]" && rm -rf /src/*

RUN useradd --create-home dfd && mkdir /work && chown dfd /work
USER dfd
WORKDIR /work
EXPOSE 8000
CMD ["dfd-doctor"]
