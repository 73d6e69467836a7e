# Argo CD's application controller and repo server, one program under three names: $E2E_ARGOCD is their folder, with the
# module's manifests in it. Sourced by e2e/run. The first build takes five minutes on two cores.

argocd_version=$(sed -n 's/^\s*github.com\/argoproj\/argo-cd\/v3 \(v[0-9.]*\).*/\1/p' e2e/argocd/go.mod)
argocd=$cache/argocd-$argocd_version-$(hash_of e2e/argocd/go.sum)

# build_argocd DIRECTORY
build_argocd() {
  local source
  echo "building argocd $argocd_version"
  CGO_ENABLED=0 go build -C e2e/argocd -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w" -o "$1/argocd" github.com/argoproj/argo-cd/v3/cmd
  ln -sf argocd "$1/argocd-application-controller"
  ln -sf argocd "$1/argocd-repo-server"
  source=$(go list -C e2e/argocd -mod=readonly -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)
  rm -rf "$1/manifests"
  cp -r "$source/manifests" "$1/manifests"
  chmod -R u+w "$1/manifests"
}

if [ -n "${E2E_KUBERNETES:-}" ]; then
  if [ ! -f "$argocd/ready" ]; then
    mkdir -p "$argocd"
    build_argocd "$argocd"
    touch "$argocd/ready"
  fi
  export E2E_ARGOCD=$argocd
else
  skip "Argo CD: no test cluster"
fi
