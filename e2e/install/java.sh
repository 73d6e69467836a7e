# Senders in Java, pinned by e2e/clients/java/pom.xml: $E2E_JAVA is the folder with classes/ and dependency/.
# Sourced by e2e/run.

java_clients=$cache/java-$(hash_of e2e/clients/java/pom.xml e2e/clients/java/src/main/java/clients/*.java)
if [ ! -f "$java_clients/ready" ] && has mvn && has javac; then
  rm -rf "$java_clients"
  mkdir -p "$java_clients"
  cp -r e2e/clients/java "$java_clients/project"
  mvn -q -B -Dstyle.color=never -f "$java_clients/project/pom.xml" compile dependency:copy-dependencies
  mv "$java_clients/project/target/classes" "$java_clients/project/target/dependency" "$java_clients"
  rm -rf "$java_clients/project"
  touch "$java_clients/ready"
fi
if [ -f "$java_clients/ready" ] && has java; then export E2E_JAVA=$java_clients; else skip "Java clients: no JDK and Maven"; fi
