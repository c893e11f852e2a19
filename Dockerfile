# The plugin's image: one binary on libc and CA certificates, no shell, no package manager.
#
#   docker build -t registry.example.com/awf-aws:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src

# The dependencies in a layer of their own: compiled again only when the manifests change.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --no-default-features --bin awf-aws \
    && rm -r src

# The demo's template is compiled in. The touch tells Cargo that the placeholders are gone; the release profile strips.
COPY assets assets
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --no-default-features --bin awf-aws

FROM gcr.io/distroless/cc-debian12
COPY --from=build /src/target/release/awf-aws /awf-aws
# Argo's token file belongs to this uid. A number, so that runAsNonRoot can be checked without /etc/passwd.
USER 8737
EXPOSE 7492 7493
ENTRYPOINT ["/awf-aws"]
