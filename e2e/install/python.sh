# The OpenTelemetry SDKs and pyarrow for Python, pinned by requirements.txt: $E2E_PYTHON.
# Sourced by e2e/run.

requirements=e2e/clients/python/requirements.txt
python_clients=$cache/python-$(hash_of "$requirements")
if [ ! -f "$python_clients/ready" ] && has python3; then
  rm -rf "$python_clients"
  python3 -m venv "$python_clients"
  "$python_clients/bin/pip" install -q --no-deps -r "$requirements"
  touch "$python_clients/ready"
fi
if [ -f "$python_clients/ready" ]; then
  export E2E_PYTHON=$python_clients/bin/python
else
  skip "Python clients: no python3"
fi
