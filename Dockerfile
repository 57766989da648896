# Two static programs and nothing else: landlord (serves) and landlord-migrate (for an init container).
#
#   docker build -t landlord --build-arg VERSION=$(git describe --tags --always) .
#   docker run --rm landlord --help
#   docker run --rm --entrypoint /usr/bin/landlord-migrate landlord --help

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make build VERSION="$VERSION"
# What the final image holds beside the programs: certificate authorities, time zones, a user, /tmp.
RUN mkdir -p /image/usr/bin /image/etc/ssl/certs /image/usr/share /image/tmp \
    && cp bin/landlord bin/landlord-migrate /image/usr/bin/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /image/usr/share/ \
    && echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >/image/etc/passwd \
    && echo 'nonroot:x:65532:' >/image/etc/group \
    && chmod 1777 /image/tmp

# A distroless image of our own: no shell, no package manager, no libc.
FROM scratch
COPY --from=build /image /
ENV ZONEINFO=/usr/share/zoneinfo.zip
# By number, so that Kubernetes' runAsNonRoot can tell.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/usr/bin/landlord"]
CMD ["serve"]
