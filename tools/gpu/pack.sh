#!/usr/bin/env bash
# Makes dist/tessera-gpu.tar.xz: the program with the CUDA backend, the tests that want a GPU, what
# they read, and every library they need save glibc's and NVIDIA's. A machine with a driver runs all
# of it with `./run.sh`: it needs no toolkit, no Bazel and no sources; with a PyTorch it compares.
# Rule: under 40 MB, so that it can be carried anywhere; the programs share their kernels, which xz sees
# and gzip does not. And a glibc no newer than 2.35 (Ubuntu 22.04): our C++ runtime wants 2.36, so
# run.sh takes the machine's own where glibc is older.
set -euo pipefail

root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
most_bytes=40000000
newest_glibc=2.35
programs=(
  tools/tessera_cuda
  tests/ops/cuda_test
  tests/ops/cuda_gemm_implementations_test
  tests/autograd/cuda_fused_bits_test
  tests/engine/cuda_kernels_test
  tests/cuda/parity_on_gpu_test
  tests/cuda/attention_on_gpu_test
  tests/cuda/conv_on_gpu_test
  tests/cuda/loader_on_gpu_test
  tests/cuda/graph_on_gpu_test
  tests/golden_cuda
)

cd "$root"
labels=()
for program in "${programs[@]}"; do labels+=("//${program%/*}:${program##*/}"); done
bazel build --config=cuda "${labels[@]}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
stage=$scratch/tessera-gpu
mkdir -p "$stage/bin" "$stage/lib" "$stage/autograd" "$stage/engine" "$stage/tests" dist
for program in "${programs[@]}"; do
  strip -o "$stage/bin/$(basename "$program")" "bazel-bin/$program"
done
cp autograd/functions.h "$stage/autograd/"
cp engine/elementwise.h "$stage/engine/"
cp -r tests/golden "$stage/tests/"
cp tools/gpu/run.sh "$stage/"
mkdir "$stage/compare"
cp tools/compare/pytorch_{step,mae,beit}.py "$stage/compare/"

# "libfmt.so.9 => /lib/x86_64-linux-gnu/libfmt.so.9 (0x...)" for each library, direct or not.
for program in "$stage"/bin/*; do ldd "$program"; done | awk '$2 == "=>" { print $1, $3 }' | sort -u |
  while read -r library file; do
    case $library in
      libc.so.* | libm.so.* | libmvec.so.* | libpthread.so.* | libdl.so.* | librt.so.*) continue ;;
      libcu* | libnv*) continue ;;
    esac
    cp -L "$file" "$stage/lib/$library"
  done

# The newest version of PREFIX_... that FILES ask of another library.
newest() {
  local prefix=$1
  shift
  objdump -T "$@" | grep '\*UND\*' | grep -o "\<${prefix}_[0-9.]*[0-9]" | sort -uV | tail -n 1 | cut -d _ -f 2
}
runtime=("$stage"/lib/libstdc++.so.6 "$stage"/lib/libgcc_s.so.1)
others=()
for file in "$stage"/bin/* "$stage"/lib/*; do
  [[ " ${runtime[*]} " == *" $file "* ]] || others+=("$file")
done
# What run.sh compares with the machine.
{
  echo "needs_glibc=$(newest GLIBC "${others[@]}")"
  echo "runtime_needs_glibc=$(newest GLIBC "${runtime[@]}")"
  echo "needs_glibcxx=$(newest GLIBCXX "${others[@]}")"
} > "$stage/needs"
cat "$stage/needs"
# shellcheck source=/dev/null
source "$stage/needs"
[[ $(printf '%s\n' "$needs_glibc" $newest_glibc | sort -V | tail -n 1) == "$newest_glibc" ]] || {
  echo "tools/gpu/pack.sh: the archive needs glibc $needs_glibc, it may need $newest_glibc" >&2
  exit 1
}

tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -c tessera-gpu |
  xz -9 > dist/tessera-gpu.tar.xz
bytes=$(stat -c %s dist/tessera-gpu.tar.xz)
echo "dist/tessera-gpu.tar.xz: $bytes bytes"
((bytes <= most_bytes)) || {
  echo "tools/gpu/pack.sh: the archive has more than $most_bytes bytes" >&2
  exit 1
}
