# The builder's stand-in where no registry gives the Rust image: the same folders and variables as in that one.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
LABEL io.carapulse.stand-in=true
ENV RUSTUP_HOME=/usr/local/rustup \
    CARGO_HOME=/usr/local/cargo \
    PATH=/usr/local/cargo/bin:/usr/local/rustup/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /usr/local/rustup/toolchain/
RUN rustc --version && cargo --version
