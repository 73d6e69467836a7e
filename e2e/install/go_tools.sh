# Programs of one Go package each, pinned by version: $E2E_PPROF, $E2E_TELEMETRYGEN, $E2E_VERSITYGW, $E2E_HELM.
# Sourced by e2e/run.

# go_tool VARIABLE PACKAGE VERSION: sets VARIABLE to the program, built when the cache does not have it.
go_tool() {
  local variable=$1 package=$2 version=$3 name directory
  name=$(basename "$package")
  directory=$cache/$name-$version
  if [ ! -x "$directory/$name" ] && has go; then
    echo "building $name $version"
    CGO_ENABLED=0 GOBIN=$directory go install -trimpath -ldflags "-s -w" "$package@$version"
  fi
  if [ -x "$directory/$name" ]; then
    export "$variable=$directory/$name"
  else
    skip "$name: no go"
  fi
}

go_tool E2E_PPROF github.com/google/pprof v0.0.0-20261016150608-1facf8f91b50
go_tool E2E_TELEMETRYGEN github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen v0.161.0
go_tool E2E_VERSITYGW github.com/versity/versitygw/cmd/versitygw v1.8.0
if can_cluster; then
  go_tool E2E_HELM helm.sh/helm/v4/cmd/helm v4.3.1
fi
