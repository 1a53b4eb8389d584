# The image of keydistill's workers, beat and command line.
FROM python:3.11-slim

# For an image without CUDA give PyTorch's index of CPU wheels (pytorch.org, "Get started", CPU):
# docker compose build --build-arg TORCH_INDEX=...
ARG TORCH_INDEX=

WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt torch==2.13.0
COPY . .
RUN pip install --no-cache-dir -c constraints.txt '.[weights]' \
 && useradd --create-home --uid 1000 keydistill \
 && install -d -o keydistill /data

USER keydistill
ENV KEYDISTILL_HOME=/data HF_HUB_OFFLINE=1
VOLUME /data
CMD ["keydistill", "--help"]
