# Jaeger's own clients and OpenTelemetry's exporters to Jaeger, pinned by the files in e2e/clients/jaeger: $E2E_JAEGER_PYTHON,
# $E2E_JAEGER_JAVASCRIPT, $E2E_JAEGER_JAVA (classes/ and dependency/). Apart from the other clients, because they need older
# versions of what both use. Sourced by e2e/run.

jaeger_python=$cache/jaeger-python-$(hash_of e2e/clients/jaeger/python/requirements.txt)
if [ ! -f "$jaeger_python/ready" ] && has python3; then
  rm -rf "$jaeger_python"
  python3 -m venv "$jaeger_python"
  "$jaeger_python/bin/pip" install -q --no-deps -r e2e/clients/jaeger/python/requirements.txt
  touch "$jaeger_python/ready"
fi
if [ -f "$jaeger_python/ready" ]; then
  export E2E_JAEGER_PYTHON=$jaeger_python/bin/python
else
  skip "Jaeger clients in Python: no python3"
fi

jaeger_javascript=$cache/jaeger-javascript-$(hash_of e2e/clients/jaeger/javascript/package-lock.json)
if [ ! -f "$jaeger_javascript/ready" ] && has npm; then
  rm -rf "$jaeger_javascript"
  mkdir -p "$jaeger_javascript"
  cp e2e/clients/jaeger/javascript/package*.json "$jaeger_javascript"
  (cd "$jaeger_javascript" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  touch "$jaeger_javascript/ready"
fi
if [ -f "$jaeger_javascript/ready" ]; then
  cp e2e/clients/jaeger/javascript/*.cjs "$jaeger_javascript"
  export E2E_JAEGER_JAVASCRIPT=$jaeger_javascript
else
  skip "Jaeger clients in JavaScript: no npm"
fi

jaeger_java=$cache/jaeger-java-$(hash_of e2e/clients/jaeger/java/pom.xml e2e/clients/jaeger/java/src/main/java/clients/*.java)
if [ ! -f "$jaeger_java/ready" ] && has mvn && has javac; then
  rm -rf "$jaeger_java"
  mkdir -p "$jaeger_java"
  cp -r e2e/clients/jaeger/java "$jaeger_java/project"
  mvn -q -B -Dstyle.color=never -f "$jaeger_java/project/pom.xml" compile dependency:copy-dependencies
  mv "$jaeger_java/project/target/classes" "$jaeger_java/project/target/dependency" "$jaeger_java"
  rm -rf "$jaeger_java/project"
  touch "$jaeger_java/ready"
fi
if [ -f "$jaeger_java/ready" ] && has java; then
  export E2E_JAEGER_JAVA=$jaeger_java
else
  skip "Jaeger client in Java: no JDK and Maven"
fi
