# One image for everything: code location (the default command), webserver, daemon, run
# containers, metrics, and the code servers that a Dagster+ agent starts.
#
#   docker build -t replication-code-location .
#
# Behind a proxy with its own certificate authority, name a base image that trusts it and sets
# SSL_CERT_FILE: --build-arg BASE_IMAGE=...
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS tools
ARG UV_VERSION=0.13.8
RUN pip install --no-cache-dir uv==${UV_VERSION}
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never

FROM tools AS dependencies
COPY requirements.lock /tmp/
# bytecode is compiled here: without it every run container would spend a second on `import dagster`
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /opt/venv \
    && uv pip sync --python /opt/venv/bin/python --require-hashes --compile-bytecode /tmp/requirements.lock \
    # what is of no use at run time: C++ headers, wheels' own tests, source maps of the UI
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf pyarrow/include pyarrow/tests \
    && find dagster_webserver -name '*.map' -delete

FROM tools AS package
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY code_location code_location
RUN --mount=type=cache,target=/root/.cache/uv uv build --wheel --out-dir /dist

FROM ${BASE_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="replication-code-location" \
    org.opencontainers.image.description="Dagster code location that replicates tables from one replication.yaml" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

# The directories are where volumes go: a new volume takes over their owner.
RUN groupadd --gid 10001 replication \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin replication \
    && install -d -o replication -g replication /data /opt/dagster /opt/dagster/logs

# Dependencies are a layer of their own, so that a change of our code ships a few kilobytes.
COPY --from=dependencies /opt/venv /opt/venv
RUN --mount=from=tools,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=from=package,source=/dist,target=/dist \
    uv pip install --python /opt/venv/bin/python --no-cache --no-index --no-deps --compile-bytecode /dist/*.whl

WORKDIR /app
COPY deploy/compose/healthcheck.py ./
COPY examples examples

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # beside `telemetry: enabled: false`, which alone leaves a thread that empties $DAGSTER_HOME/logs
    DAGSTER_DISABLE_TELEMETRY=1 \
    REPLICATION_CONFIG=/app/examples/replication.yaml

# by number: Kubernetes' runAsNonRoot can't judge a name
USER 10001:10001
EXPOSE 4000

# SERVING says that the server answers, not that definitions loaded: a broken module shows in the
# UI, and restarting the container would not mend it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s \
    CMD ["python", "/app/healthcheck.py", "grpc", "localhost:4000"]

# No ENTRYPOINT: Dagster+ agents and the run launcher bring their own command, which an
# ENTRYPOINT would be put in front of. `code-server` (not `api grpc`) can reload code from the UI.
CMD ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "code_location.definitions"]
