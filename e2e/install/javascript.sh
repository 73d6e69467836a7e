# The OpenTelemetry SDK for JavaScript, pinned by package-lock.json: $E2E_JAVASCRIPT.
# Sourced by e2e/run.

javascript_clients=$cache/javascript-$(hash_of e2e/clients/javascript/package-lock.json)
if [ ! -f "$javascript_clients/ready" ] && has npm; then
  rm -rf "$javascript_clients"
  mkdir -p "$javascript_clients"
  cp e2e/clients/javascript/package*.json "$javascript_clients"
  (cd "$javascript_clients" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  touch "$javascript_clients/ready"
fi
if [ -f "$javascript_clients/ready" ]; then
  cp e2e/clients/javascript/*.mjs "$javascript_clients"
  export E2E_JAVASCRIPT=$javascript_clients
else
  skip "JavaScript clients: no npm"
fi
