# One image a program: ingress, worker, outbox, console, or belay (the tools). It holds
# the program, the authorities of the web, and nothing else.
#
#   docker build --build-arg PROGRAM=ingress --tag belay/ingress:dev .
#
# The same commit gives the same image: make images.

ARG GO_IMAGE=golang:1.26.8
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG PROGRAM
ARG TARGETOS
ARG TARGETARCH
# Where it stands, if it is no program of cmd/.
ARG MODULE=.
ARG PACKAGE=cmd/${PROGRAM}
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    test -n "$PROGRAM" || { echo "which? --build-arg PROGRAM=ingress"; exit 1; }; \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -C "$MODULE" -trimpath -ldflags '-s -w -buildid=' -o /out/program "./$PACKAGE"

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/program /program
USER 65532:65532
ENTRYPOINT ["/program"]
ARG PROGRAM
ARG VERSION=dev
ARG REVISION
LABEL org.opencontainers.image.title="belay ${PROGRAM}" \
      org.opencontainers.image.description="Webhooks, in and out: one that was answered 2xx is never dropped." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
