# syntax=docker/dockerfile:1

# --- build: one wheel of our own, the page's player in it, and every dependency as the lock says -----------
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock requirements-build.lock requirements-node.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements-build.lock -r requirements-node.lock
RUN python -m venv /opt/media-server \
    && /opt/media-server/bin/pip install --require-hashes -r requirements.lock
COPY . .
RUN PATH="/opt/build/bin:$PATH" /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/media-server/bin/pip install --no-deps /wheels/*.whl \
    && /opt/media-server/bin/python -m compileall -q /opt/media-server/lib

# --- run: the same Python, the installed environment, nothing that builds ----------------------------------
FROM python:3.12-slim
RUN groupadd --system --gid 10001 media \
    && useradd --system --uid 10001 --gid media --no-create-home --home-dir /nonexistent media \
    && install -d -o media -g media /var/lib/media-server
COPY --from=build /opt/media-server /opt/media-server
# HOST: a container's own loopback would reach nobody. DATA_DIR: a volume, so that tracks and the queue outlive
# the container. PYTHONUNBUFFERED: the last log lines before an end are the ones that count.
ENV PATH="/opt/media-server/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8082 \
    DATA_DIR=/var/lib/media-server
USER media
WORKDIR /var/lib/media-server
VOLUME /var/lib/media-server
EXPOSE 8082
# A stop lets the running job finish or hands it back, within 30 seconds: docker stop --time 35.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=3)"]
CMD ["python", "-m", "media_server", "serve"]
