# The identity service, and the command line for admins beside it. Build from
# the project's root:
#   docker build -f deploy/images/identity.Dockerfile -t earlybird-identity .
# The programs are compiled here for the image's platform, not emulated.
FROM --platform=$BUILDPLATFORM golang:1.26-trixie AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY identity identity
COPY plugin plugin
COPY kong kong
COPY admin admin
ARG TARGETARCH
ENV CGO_ENABLED=0
ENV GOARCH=$TARGETARCH
# There is no git here to read it from.
ARG VERSION=
ENV GOFLAGS=-ldflags=-X=github.com/earlybird/earlybird/identity/program.version=$VERSION
RUN go build -trimpath -o /out/earlybird-identity ./identity \
 && go build -trimpath -o /out/earlybird ./admin

# No shell, no package manager, uid 65532; certificates and time zones are in it.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/earlybird-identity /out/earlybird /usr/local/bin/
USER 65532:65532
EXPOSE 8081 9541
ENTRYPOINT ["/usr/local/bin/earlybird-identity"]
