# Senders in Go and the OpenTelemetry Collector, pinned by e2e/clients/go/go.sum: $E2E_GO_CLIENTS is the folder of the
# programs otlp, zipkin and collector. Sourced by e2e/run.

go_clients=$cache/go-clients-$(hash_of e2e/clients/go/go.sum e2e/clients/go/*/main.go)
if [ ! -f "$go_clients/ready" ] && has go; then
  echo "building the senders in Go and the OpenTelemetry Collector"
  mkdir -p "$go_clients"
  CGO_ENABLED=0 go build -C e2e/clients/go -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w" -o "$go_clients/" ./otlp ./zipkin ./collector
  touch "$go_clients/ready"
fi
if [ -f "$go_clients/ready" ]; then export E2E_GO_CLIENTS=$go_clients; else skip "Go clients and the Collector: no go"; fi
