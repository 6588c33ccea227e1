# Five images from one executable: gateway, tool-router, orchestrator, agent, sandbox (`--target NAME`).
# docs/images.md says what is in each and how it is checked; docs/adr/0006 why all stand on one Debian base.
# BuildKit and buildah both build this file: no heredoc, no `COPY --link`, no cache mount. `cargo xtask images build`
# calls whichever is there. Nothing here depends on the architecture but the tools stage, which asks TARGETARCH.

# Exact tags; `cargo xtask images pin` appends the digests that a registry gives for them.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm
ARG DEBIAN_IMAGE=docker.io/library/debian:bookworm-20260824-slim

# ---- the executable -------------------------------------------------------------------------------------------------

FROM ${RUST_IMAGE} AS chef
ARG CARGO_CHEF_VERSION=0.1.78
ARG CARGO_AUDITABLE_VERSION=0.7.7
# A CARGO_HOME of their own, so that what they downloaded goes with them.
RUN export CARGO_HOME=/tmp/cargo CARGO_TARGET_DIR=/tmp/target \
    && cargo install --locked --root /usr/local --version "${CARGO_CHEF_VERSION}" cargo-chef \
    && cargo install --locked --root /usr/local --version "${CARGO_AUDITABLE_VERSION}" cargo-auditable \
    && rm -rf /tmp/cargo /tmp/target
# No path of the build is in the executable, Rust's or C's: the same sources give the same bytes in any folder.
# `/elsewhere` is where the stage `rebuilt` proves it; both are named here because other flags would be other builds.
ENV CARGO_TARGET_DIR=/build/target \
    CARGO_INCREMENTAL=0 \
    SQLX_OFFLINE=true \
    SOURCE_DATE_EPOCH=0 \
    RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=/cargo --remap-path-prefix=/build=/carapulse --remap-path-prefix=/elsewhere=/carapulse" \
    CFLAGS="-ffile-prefix-map=/usr/local/cargo=/cargo -ffile-prefix-map=/build=/carapulse -ffile-prefix-map=/elsewhere=/carapulse"
WORKDIR /build/src

FROM chef AS planner
COPY Cargo.toml Cargo.lock ./
COPY src src
# The product alone: xtask is no part of any image, so its dependencies must not remake the layer of the product's. cargo
# takes out of the lock file what nobody asks for any more; that it put nothing in is checked.
RUN sed -i 's/^members = .*/members = ["."]/' Cargo.toml \
    && cp Cargo.lock /build/whole.lock \
    && cargo update --workspace \
    && ! grep '^checksum' Cargo.lock | grep --quiet --invert-match --line-regexp --fixed-strings --file /build/whole.lock \
    && cargo chef prepare --recipe-path /build/recipe.json

# Remade only when Cargo.toml or Cargo.lock change: everything but the project's own crate.
FROM chef AS dependencies
COPY --from=planner /build/recipe.json /build/recipe.json
RUN cargo chef cook --locked --release --package carapulse --bin carapulse --recipe-path /build/recipe.json
# The manifests of all packages, for the bill of materials: from here on nothing needs a registry.
RUN cargo fetch --locked --target "$(rustc -vV | sed -n 's/^host: //p')"

# What the executable is made of, and nothing else: a change anywhere else does not compile it again. Targets that are
# not built here (tests, benches) have the empty files that `cook` left.
FROM dependencies AS build
COPY --from=planner /build/src/Cargo.toml /build/src/Cargo.lock ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY policies policies
COPY src src
RUN cargo auditable build --locked --offline --release --package carapulse --bin carapulse \
    && install -D -m 0755 /build/target/release/carapulse /out/carapulse
# The bill of materials is in the executable (`cargo audit bin` and Trivy read it), and the executable runs.
RUN readelf --wide --sections /out/carapulse | grep -q '[.]dep-v0' && /out/carapulse --version

# The same sources from another folder, for `cargo xtask images reproduce`. REBUILD_TARGET=/elsewhere/target compiles the
# dependencies anew as well.
FROM dependencies AS rebuilt
ARG REBUILD_TARGET=/build/target
WORKDIR /elsewhere/deeper/src
RUN cp -a /build/src/. .
COPY --from=planner /build/src/Cargo.toml /build/src/Cargo.lock ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY policies policies
COPY src src
RUN CARGO_TARGET_DIR="${REBUILD_TARGET}" \
    cargo auditable build --locked --offline --release --package carapulse --bin carapulse \
    && install -D -m 0755 "${REBUILD_TARGET}/release/carapulse" /out/carapulse

# ---- the command lines that actions call ----------------------------------------------------------------------------

FROM ${DEBIAN_IMAGE} AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl gpg unzip \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*
ARG TARGETARCH
ARG KUBECTL_VERSION=v1.37.2
ARG HELM_VERSION=v3.22.0
ARG ARGOCD_VERSION=v3.6.1
ARG VAULT_VERSION=1.21.4
ARG BOUNDARY_VERSION=0.21.3
ARG GH_VERSION=2.98.0
ARG GLAB_VERSION=1.109.0
ARG AWSCLI_VERSION=2.36.40
# `fail`: an image without one of them is not built. `report`: the image's manifest names it as missing.
ARG TOOLS_MISSING=fail
# `local`: nothing is downloaded, only docker/tools/local is looked at.
ARG TOOLS_FROM=vendor
COPY docker/tools/ /tmp/tools/
RUN sh /tmp/tools/install.sh && cat /opt/carapulse/tools/manifest.txt

# ---- what all images stand on ---------------------------------------------------------------------------------------

FROM ${DEBIAN_IMAGE} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
    && groupadd --gid 10001 carapulse \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/carapulse --shell /usr/sbin/nologin carapulse \
    && install -d -m 0755 /etc/carapulse \
    && install -d -m 0750 -o 10001 -g 10001 /var/lib/carapulse
ENV CARAPULSE_CONFIG=/etc/carapulse/carapulse.toml \
    CARAPULSE_DATA_DIR=/var/lib/carapulse
WORKDIR /var/lib/carapulse
ENTRYPOINT ["/usr/local/bin/carapulse"]
ARG DEBIAN_IMAGE
LABEL org.opencontainers.image.source="https://github.com/carapulse/carapulse" \
      org.opencontainers.image.url="https://github.com/carapulse/carapulse" \
      org.opencontainers.image.documentation="https://github.com/carapulse/carapulse/blob/main/docs/images.md" \
      org.opencontainers.image.vendor="Carapulse maintainers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${DEBIAN_IMAGE}"

# tool_dirs = ["/opt/carapulse/tools/bin"] in [sandbox] and [tool_router] names them to the jobs.
FROM base AS base-tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY --from=tools /opt/carapulse/tools /opt/carapulse/tools

# ---- the images -----------------------------------------------------------------------------------------------------

# Also the image of `carapulse migrate up`: the schema's changes are in this executable, so the image that migrates and
# the one that serves must be of one version (docs/images.md).
FROM base AS gateway
COPY --from=build /out/carapulse /usr/local/bin/carapulse
RUN ["/usr/local/bin/carapulse", "--version"]
USER 10001:10001
# The API, and the Canvas pages.
EXPOSE 8080 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/carapulse", "healthcheck", "--role", "gateway"]
CMD ["serve", "--role", "gateway"]
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="carapulse gateway" \
      org.opencontainers.image.description="Carapulse: the HTTP surface, and the schema's migrations" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

FROM base-tools AS tool-router
COPY --from=build /out/carapulse /usr/local/bin/carapulse
RUN ["/usr/local/bin/carapulse", "--version"]
USER 10001:10001
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/carapulse", "healthcheck", "--role", "tool-router"]
CMD ["serve", "--role", "tool-router"]
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="carapulse tool-router" \
      org.opencontainers.image.description="Carapulse: carries out approved actions" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# No command lines here: the orchestrator asks the tool-router for every action, it runs none itself.
FROM base AS orchestrator
COPY --from=build /out/carapulse /usr/local/bin/carapulse
RUN ["/usr/local/bin/carapulse", "--version"]
USER 10001:10001
# Health. The predecessor exposed 7233 here, which is the port of the Temporal server itself: an orchestrator calls that
# one and never listens on it.
EXPOSE 8085
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/carapulse", "healthcheck", "--role", "orchestrator"]
CMD ["serve", "--role", "orchestrator"]
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="carapulse orchestrator" \
      org.opencontainers.image.description="Carapulse: investigations, executions and background work" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

FROM base AS agent
COPY --from=build /out/carapulse /usr/local/bin/carapulse
RUN ["/usr/local/bin/carapulse", "--version"]
USER 10001:10001
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/carapulse", "healthcheck", "--role", "agent"]
CMD ["serve", "--role", "agent"]
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="carapulse agent" \
      org.opencontainers.image.description="Carapulse: the chat surface" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

FROM base-tools AS sandbox
COPY --from=build /out/carapulse /usr/local/bin/carapulse
RUN ["/usr/local/bin/carapulse", "--version"]
USER 10001:10001
EXPOSE 8091
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/carapulse", "healthcheck", "--role", "sandbox"]
CMD ["serve", "--role", "sandbox"]
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="carapulse sandbox" \
      org.opencontainers.image.description="Carapulse: runs one action at a time, confined" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
