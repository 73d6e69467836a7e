# Debian packages: a C compiler and make for jemalloc, zstd and the TLS library; the rest for the programs of the tests.
# Sourced by e2e/run.

missing=()
# package PACKAGE COMMAND...: notes the package when one of the commands (or files) is missing.
package() {
  local name=$1 command
  shift
  for command in "$@"; do
    if ! has "$command" && [ ! -e "$command" ]; then
      missing+=("$name")
      return
    fi
  done
}

package gcc cc
package g++ c++
package libc6-dev /usr/include/stdlib.h
package make make
package curl curl
package git git
package openssl openssl
package lua5.4 lua5.4
package openjdk-17-jdk-headless javac
package maven mvn
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
if can_cluster; then
  package etcd-server etcd
  package containerd containerd ctr
  package runc runc
  package containernetworking-plugins /usr/lib/cni/bridge
  package iproute2 ip
  package iptables iptables
  package nftables nft
  package conntrack conntrack
  package busybox-static busybox
  package redis-server redis-server
  package procps ps sysctl
  package util-linux nsenter setpriv unshare
fi

# Servers that come with a package must not start by themselves: they would take the ports of what the machine runs.
install_packages() {
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    at_exit "rm -f $policy"
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

if [ ${#missing[@]} -gt 0 ]; then
  if has apt-get && [ "$(id -u)" = 0 ]; then
    install_packages "${missing[@]}"
  else
    skip "cannot install ${missing[*]}: not root, or no apt-get; what needs them is skipped or fails below"
  fi
fi
has cargo || { echo "cargo is missing: install Rust 1.95 or newer" >&2; exit 1; }
