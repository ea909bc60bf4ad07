# syntax=docker/dockerfile:1
# The first stage builds the environment with uv, and the second one holds only this environment. Both have the same
# Debian and Python.
# CI pins both bases by digest: FROM NAME:TAG@sha256:...

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN --mount=type=bind,source=requirements/uv.txt,target=/build/uv.txt \
    pip install --require-hashes -r /build/uv.txt
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/orderflow
RUN uv venv /opt/orderflow
# Dependencies are installed first, in a layer of their own. It is built again only when they change.
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=requirements/run.txt,target=/build/run.txt \
    uv pip sync --require-hashes /build/run.txt
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY statemachine statemachine
COPY adapters adapters
COPY consumer consumer
ARG REVISION=unknown
RUN echo "${REVISION}" > consumer/REVISION
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=requirements/dev.txt,target=/build/dev.txt \
    uv pip install --no-deps --build-constraints /build/dev.txt /build

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="orderflow" \
      org.opencontainers.image.description="Carries every order of a Mirakl seller from waiting acceptance to shipped, once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin orderflow \
    && mkdir -p /etc/orderflow/config /etc/orderflow/secrets
COPY --from=build /opt/orderflow /opt/orderflow
ENV PATH=/opt/orderflow/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 9464
ENTRYPOINT ["orderflow"]
CMD ["--help"]
