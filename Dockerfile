# vitft with its runtime library, as a service:
#   docker build -t vitft .
#   docker run --rm -p 8080:8080 -v "$PWD/run:/model:ro" vitft
#   docker run --rm -v "$PWD:/work" -w /work --user "$(id -u)" vitft finetune --train photos/train --out run
# With --build-arg SETUP=--gpu-deps it has CUDA's libraries (2 GB), with --build-arg TAGS=slim neither object stores nor
# queues.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TAGS=disable_grpc_modules
RUN go build -trimpath -ldflags=-s -tags "$TAGS" -o /out/vitft ./cmd/vitft
ARG SETUP=
RUN /out/vitft setup --again $SETUP --out /out/lib

FROM debian:bookworm-slim
COPY --from=build /out /opt/vitft
COPY LICENSE NOTICE /opt/vitft/
# By which it knows the servers of object stores and of the hub; debian:bookworm-slim has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
RUN ln -s /opt/vitft/vitft /usr/local/bin/vitft && mkdir -m 1777 /cache
ENV VITFT_CACHE=/cache HOME=/tmp
USER 65532:65532
EXPOSE 8080
# The image has neither curl nor wget.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q ' 200 ' <&3"]
ENTRYPOINT ["vitft"]
CMD ["serve", "--model", "/model", "--addr", ":8080"]
