# One image for all services: Prefect worker, HTTP API, command line. See compose.yaml and docs/operations.md.
# For NVIDIA GPUs: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128, or compose.cuda.yaml beside compose.yaml.
FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    RUNATLAS_HOME=/data \
    RUNATLAS_ROOT=/app

# libraries first, in their own layer: they change rarely
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir components flows api && touch components/__init__.py flows/__init__.py api/__init__.py \
    && pip install --constraint constraints.txt --extra-index-url "$TORCH_INDEX" ".[postgres]" asyncpg \
    && pip uninstall --yes runatlas && rm -r components flows api

COPY . .
RUN pip install --no-deps --editable . \
    && useradd --create-home --uid 10001 runatlas \
    && mkdir --parents /data && chown runatlas /data

USER 10001
VOLUME /data
EXPOSE 8000 4200

# All services in one container; compose.yaml runs them separately. It serves other machines, so it starts only with
# RUNATLAS_API_TOKEN set. The Prefect server creates its own key, and `up` prints the link that signs a browser in.
ENV RUNATLAS_API__HOST=0.0.0.0 RUNATLAS_PREFECT__HOST=0.0.0.0
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["runatlas", "up"]
