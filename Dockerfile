# One file for every service. PACKAGES names the folders of services/ that the image carries, separated by spaces;
# EXTRAS names an optional group of dependencies that all of them have. What runs is the module given as command.

FROM python:3.13-slim AS base

# The parts of the tree that decide about third-party packages, so that other changes leave their layer alone.
FROM base AS manifests
COPY . /src
RUN find /src -type f ! -name pyproject.toml ! -name requirements.lock -delete \
 && find /src -type d -empty -delete

FROM base AS dependencies
WORKDIR /src
ENV PATH=/opt/uv/bin:$PATH VIRTUAL_ENV=/app/.venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
COPY requirements.lock .
RUN --mount=type=cache,target=/root/.cache \
    sed -nE '/^uv==/,/[^\\]$/p' requirements.lock >/tmp/uv.txt \
 && python -m venv /opt/uv && pip install --quiet --require-hashes -r /tmp/uv.txt \
 && uv venv --quiet --python "$(command -v python)" /app/.venv
ARG PACKAGES
ARG EXTRAS=""
COPY --from=manifests /src .
# The lock bounds the versions, and is also the file that is updated: what it has keeps its hashes. The check is for
# packages that it has not, which would come with hashes from the registry.
RUN --mount=type=cache,target=/root/.cache \
    cp requirements.lock subset.txt \
 && uv pip compile --quiet --python /app/.venv --generate-hashes --constraint requirements.lock \
      --no-emit-package weft-shared ${EXTRAS:+--extra $EXTRAS} --output-file subset.txt \
      $(printf 'services/%s/pyproject.toml ' ${PACKAGES:?names no folder of services/}) \
 && grep -oE 'sha256:[0-9a-f]{64}' requirements.lock >locked.txt \
 && ! grep -E -e '--hash=' subset.txt | grep -vFf locked.txt \
 && uv pip sync --quiet --require-hashes subset.txt

FROM dependencies AS packages
COPY shared shared
COPY services services
RUN uv pip install --quiet --offline --no-deps --target /app/packages ./shared $(printf './services/%s ' $PACKAGES)

FROM base
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin weft \
 && install -d -o weft -g weft /var/lib/weft/assets
COPY --from=dependencies /app/.venv /app/.venv
COPY --from=packages /app/packages /app/packages
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONPATH=/app/packages \
    PYTHONUNBUFFERED=1 \
    WEFT_ASSETS_URL=file:///var/lib/weft/assets \
    WEFT_HTTP_HOST=0.0.0.0 \
    WEFT_HTTP_PORT=8000
WORKDIR /var/lib/weft
USER weft
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["python", "-m"]
