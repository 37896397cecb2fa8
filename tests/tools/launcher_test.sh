#!/usr/bin/env bash
# Which program ./tessera builds and starts: with CUDA or without, and when it is built again.
# Rule: in a folder of its own with stand-ins for Bazel, g++ and nvcc: what Bazel was asked for is
# written down, what it makes says its own name.
set -euo pipefail

clone=$TEST_TMPDIR/clone
mkdir -p "$clone/engine" "$TEST_TMPDIR/bin" "$TEST_TMPDIR/toolkit/bin" "$TEST_TMPDIR/empty"
cp -L tessera "$clone/"
touch "$clone"/{WORKSPACE,BUILD,.bazelrc} "$clone"/engine/{BUILD,tensor.cc}
cat > "$TEST_TMPDIR/bin/bazel" << 'STANDIN'
#!/usr/bin/env bash
label=${*: -1}
echo "$label" >> "$TEST_TMPDIR/asked"
[[ ! -e $TEST_TMPDIR/broken ]] || exit 1
mkdir -p bazel-bin/tools
program=bazel-bin/tools/${label##*:}
printf '#!/bin/sh\necho "%s $*"\n' "${label##*:}" > "$program"
chmod +x "$program"
STANDIN
printf '#!/bin/sh\n' | tee "$TEST_TMPDIR/bin/g++" > "$TEST_TMPDIR/toolkit/bin/nvcc"
chmod +x "$TEST_TMPDIR"/bin/* "$TEST_TMPDIR/toolkit/bin/nvcc"
export PATH=$TEST_TMPDIR/bin:$PATH XDG_CACHE_HOME=$TEST_TMPDIR/cache TEST_TMPDIR
unset TESSERA_CUDA

# expect STATUS WHAT BUILT [NAME=VALUE...]: how it ends, what it prints last, and the labels that Bazel
# was asked for.
expect() {
  local wanted="$1, '$2' and '$3'" status=0 said
  : > "$TEST_TMPDIR/asked"
  said=$(env "${@:4}" "$clone/tessera" info --json 2>&1) || status=$?
  said="$status, '${said##*$'\n'}' and '$(< "$TEST_TMPDIR/asked")'"
  [[ $said == "$wanted" ]] || {
    echo "launcher_test: with ${*:4} status, last line and labels were $said, not $wanted" >&2
    exit 1
  }
}
plain='tessera info --json' with='tessera_cuda info --json'
here=(CUDA_HOME="$TEST_TMPDIR/toolkit") none=(CUDA_HOME="$TEST_TMPDIR/empty")

# Without a toolkit there is no CUDA, whatever driver there is; what is built is not built again.
expect 0 "$plain" //tools:tessera "${none[@]}"
expect 0 "$plain" '' "${none[@]}"
# With one it takes a driver.
if [[ -e /dev/nvidiactl || -e /proc/driver/nvidia/version ]]; then
  expect 0 "$with" //tools:tessera_cuda "${here[@]}"
else
  expect 0 "$plain" '' "${here[@]}"
  expect 0 "$with" //tools:tessera_cuda "${here[@]}" TESSERA_CUDA=1
fi
# Each choice starts its own program.
expect 0 "$with" '' "${here[@]}" TESSERA_CUDA=1
expect 0 "$plain" '' "${here[@]}" TESSERA_CUDA=0
# A newer source makes each of them stale, and a build that failed is tried again.
sleep 0.01
touch "$clone/engine/tensor.cc"
touch "$TEST_TMPDIR/broken"
log=$XDG_CACHE_HOME/tessera/${clone//\//%}/build.log
expect 1 "tessera: the build failed; the whole output is in $log; TESSERA_CUDA=0 builds without CUDA" \
  //tools:tessera_cuda "${here[@]}" TESSERA_CUDA=1
rm "$TEST_TMPDIR/broken"
expect 0 "$with" //tools:tessera_cuda "${here[@]}" TESSERA_CUDA=1
expect 0 "$plain" //tools:tessera "${here[@]}" TESSERA_CUDA=0
# What cannot be is one line.
expect 1 "tessera: TESSERA_CUDA=1: there is no $TEST_TMPDIR/empty/bin/nvcc; CUDA_HOME names the toolkit's folder" \
  '' "${none[@]}" TESSERA_CUDA=1
expect 1 'tessera: TESSERA_CUDA=yes: it is 0 or 1' '' "${here[@]}" TESSERA_CUDA=yes
echo passed
