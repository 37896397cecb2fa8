#!/usr/bin/env bash
# Makes dist/tessera-VERSION-linux-x86_64.tar.gz: the program, its documentation and every library it
# needs save glibc's own, which every Debian 12 (or newer) has. `--check` also runs the archive in a
# bare Debian 12 (debootstrap's minbase, no network, no other package); that needs root and
# debootstrap.
# Rule: the program in the archive is the one that bazel-bin holds, stripped, not a special build.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
case "$*" in
  '' | --check) ;;
  *)
    echo "usage: tools/package.sh [--check]" >&2
    exit 2
    ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

version=$(TESSERA_CUDA=0 "$root/tessera" --version) # builds it if need be; the archive is for any machine
name=tessera-${version##* }-linux-x86_64
stage=$scratch/$name
mkdir -p "$stage/bin" "$stage/lib" "$stage/licenses" "$root/dist"
strip -o "$stage/bin/tessera" "$root/bazel-bin/tools/tessera"
cp "$root/tessera" "$stage/"
# The README links to pages, and the pages to one another: all of them come along.
(cd "$root" && find README.md LICENSE docs -type f ! -name BUILD -exec cp --parents {} "$stage/" \;)

# "libfmt.so.9 => /lib/x86_64-linux-gnu/libfmt.so.9 (0x...)" for each library, direct or not.
ldd "$stage/bin/tessera" | awk '$2 == "=>" { print $1, $3 }' | while read -r library file; do
  case $library in
    libc.so.* | libm.so.* | libmvec.so.* | libpthread.so.* | libdl.so.* | librt.so.*) continue ;;
  esac
  [[ -f $file ]] || {
    echo "tools/package.sh: $library is needed and not found" >&2
    exit 1
  }
  cp -L "$file" "$stage/lib/$library"
  package=$(dpkg-query -S "*/x86_64-linux-gnu/$(basename "$(readlink -f "$file")")" | head -n 1 | cut -d : -f 1)
  cp "/usr/share/doc/$package/copyright" "$stage/licenses/$package"
done

# Sorted, without owners and times: the same program gives the same archive.
tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -c "$name" |
  gzip -n > "$root/dist/$name.tar.gz"
echo "dist/$name.tar.gz: $(du -h "$root/dist/$name.tar.gz" | cut -f 1), $(ls "$stage/lib" | wc -l) libraries"

[[ ${1-} == --check ]] || exit 0
command -v debootstrap > /dev/null && ((EUID == 0)) || {
  echo "tools/package.sh: --check needs root and the package debootstrap" >&2
  exit 1
}
bare=$scratch/debian12
echo "making a bare Debian 12 to try it in" >&2
debootstrap --variant=minbase bookworm "$bare" > "$scratch/debootstrap.log" || {
  tail -n 5 "$scratch/debootstrap.log" >&2
  exit 1
}
tar -C "$bare/opt" -xzf "$root/dist/$name.tar.gz"
cat > "$bare/try" << 'TRY'
set -eu
mount -t proc proc /proc
cd /opt/tessera-*
./tessera info
./tessera pretrain mae --data builtin:64 --arch vit_tiny --image-size 32 --patch-size 4 \
  --batch-size 16 --max-steps 2 --out /root/run
./tessera reconstruct --checkpoint /root/run --data builtin: --out /root/picture.png
test -s /root/picture.png
TRY
unshare --mount --pid --net --fork chroot "$bare" /usr/bin/env -i PATH=/usr/bin:/bin bash /try
echo "the archive runs on a bare Debian 12"
