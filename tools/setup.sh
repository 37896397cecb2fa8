#!/usr/bin/env bash
# Installs the Debian packages that Tessera needs to build and to test itself.
# Rule: says what it will install before it does; does and says nothing when all is there.
set -euo pipefail

packages=(
  # the build
  bazel-bootstrap bazel-rules-java bazel-rules-proto bazel-platforms bazel-skylib g++ git
  # linked or included by the program
  libeigen3-dev libdnnl-dev libfmt-dev libcli11-dev nlohmann-json3-dev
  libjpeg62-turbo-dev libspng-dev zlib1g-dev libminizip-dev
  # the tests
  catch2 clang-format python3
)

command -v dpkg-query > /dev/null && command -v apt-get > /dev/null || {
  echo "tools/setup.sh: this script knows Debian 12 only; elsewhere install by hand: ${packages[*]}" >&2
  exit 1
}

# Exit status 1 only says that it never heard of one of the names; its list is what counts.
installed=$(dpkg-query -W -f ' ${db:Status-Status}=${Package} ' "${packages[@]}" 2> /dev/null) ||
  [[ $? == 1 ]]
missing=()
for package in "${packages[@]}"; do
  [[ $installed == *" installed=$package "* ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

echo "Tessera needs these Debian packages and will install them now: ${missing[*]}" >&2
as_root=()
if ((EUID != 0)); then
  command -v sudo > /dev/null || {
    echo "tools/setup.sh: not root and no sudo here; as root type: apt-get install ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends "${missing[@]}" >&2
