# The database of `cargo xtask images check`: Debian's Postgres on the images' own base, run by the uid that owns the
# secrets, whose file gives its owner a password.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /tmp carapulse
COPY postgres.sh /postgres.sh
USER 10001
ENTRYPOINT ["sh", "/postgres.sh"]
