# syntax=docker/dockerfile:1
# A node in a container: docker build -t thingdb .
# See docs/operations.md; docker-compose.yml runs two of them.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# zstd and the TLS library's assembly are compiled by the C compiler that this image has.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked -p thingdb-tools \
    && install -D target/dist/thingdb /out/thingdb \
    && mkdir -m 0700 /out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/thingdb /usr/local/bin/thingdb
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /var/lib/thingdb
USER 65532:65532
# The passphrase is a file that the container is given (a secret), never a
# variable and never part of an image.
ENV THINGDB_DIR=/var/lib/thingdb/node \
    THINGDB_PASSPHRASE_FILE=/run/secrets/thingdb-passphrase
VOLUME /var/lib/thingdb
EXPOSE 7443
STOPSIGNAL SIGTERM
# Goes through the server's local socket, so it needs neither passphrase nor token.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["thingdb", "stats", "--json"]
ENTRYPOINT ["thingdb"]
CMD ["serve", "--listen", "0.0.0.0:7443"]
