# Kubernetes from its Go module (e2e/cluster/go.mod) and CoreDNS, all in one folder: $E2E_KUBERNETES.
# Sourced by e2e/run. The first build takes ten minutes on two cores.

kubernetes_programs=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)
coredns_version=v1.15.0

# build_kubernetes DIRECTORY
build_kubernetes() {
  local version=${kubernetes_version#v} flags=-s\ -w program
  # Without the version flags, every client that asks for the version is told v0.0.0.
  flags+=" -X k8s.io/component-base/version.gitVersion=v$version"
  flags+=" -X k8s.io/component-base/version.gitMajor=$(cut -d. -f1 <<<"$version")"
  flags+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")"
  for program in "${kubernetes_programs[@]}"; do
    [ -x "$1/$program" ] && continue
    echo "building $program $kubernetes_version"
    CGO_ENABLED=0 go build -C e2e/cluster -mod=readonly -buildvcs=false -trimpath -ldflags "$flags" -o "$1/" "k8s.io/kubernetes/cmd/$program"
  done
  if [ ! -x "$1/coredns" ]; then
    echo "building coredns $coredns_version"
    CGO_ENABLED=0 GOBIN=$1 go install -trimpath -ldflags "-s -w" "github.com/coredns/coredns@$coredns_version"
  fi
}

kubernetes_version=$(sed -n 's/^\s*k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' e2e/cluster/go.mod)
kubernetes=$cache/kubernetes-$kubernetes_version-$(hash_of e2e/cluster/go.sum)-coredns-$coredns_version
if can_cluster && [ ! -f "$kubernetes/ready" ] && has go; then
  mkdir -p "$kubernetes"
  build_kubernetes "$kubernetes"
  touch "$kubernetes/ready"
fi
if ! can_cluster; then
  skip "everything on Kubernetes: not root, or not Linux"
elif [ -f "$kubernetes/ready" ]; then
  export E2E_KUBERNETES=$kubernetes
else
  skip "everything on Kubernetes: no go"
fi
