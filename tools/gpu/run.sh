#!/usr/bin/env bash
# Runs, on a machine with a GPU, what the archive of tools/gpu/pack.sh holds, in four parts:
#   tests       the op table, the kernels' tests, the golden numbers, the comparison with the CPU, and
#               trainings that must give the same bytes (three alike; replayed graphs beside steps
#               queued anew)
#   speed       a step with and without graphs, and every op and product beside its limit
#   torch       the same step in PyTorch, where there is one
#   sanitizers  the four tools of compute-sanitizer, where it is installed, over the tests
#     ./run.sh                                    all of them, anew
#     ./run.sh tests speed                        these; what other calls found stays
#     ./run.sh sanitizers cuda_test parity_on_gpu_test
# tests, speed and torch are meant to take some ten minutes each; sanitizers takes an hour and more,
# and so it takes names of tests.
# Prints a table; results.json holds the same, one object a line; what is longer than a line lies in
# ops.txt, gemm.txt, profile.txt and results.log.
# Rule: goes on after a failure, and ends with 1 if there was any; a check that is run again replaces
# its row.
set -uo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit
log=$PWD/results.log
json=$PWD/results.json
failed=0
# Seconds a program may take: a kernel that hangs must not hide what comes after.
limit='timeout 300' torch_limit='timeout 900' sanitizer_limit='timeout 1800' op_table_limit='timeout 3600'

tests_for_sanitizers=(parity_on_gpu_test cuda_kernels_test attention_on_gpu_test conv_on_gpu_test
  loader_on_gpu_test graph_on_gpu_test cuda_gemm_implementations_test cuda_fused_bits_test cuda_test)

# The parts, and after sanitizers the tests that it shall run.
parts=()
sanitized=()
for word in "$@"; do
  if [[ $word =~ ^(tests|speed|torch|sanitizers)$ ]]; then
    parts+=("$word")
  elif [[ " ${parts[*]} " == *' sanitizers '* && " ${tests_for_sanitizers[*]} " == *" $word "* ]]; then
    sanitized+=("$word")
  else
    echo "run.sh: $word: it is tests, speed, torch or sanitizers, and behind the last of ${tests_for_sanitizers[*]}" >&2
    exit 2
  fi
done
[[ ${#sanitized[@]} -gt 0 ]] || sanitized=("${tests_for_sanitizers[@]}")
if [[ ${#parts[@]} == 0 ]]; then
  parts=(tests speed torch sanitizers)
  rm -f "$json" "$log"
fi
touch "$json" "$log"

# The programs find what lies in lib/ by themselves; NVIDIA's libraries may be where nobody looks: in the
# toolkit, or where pip put them beside a PyTorch.
pip_folders=$(python3 -c '
import glob, os, sys
print(":".join(f for p in sys.path for f in sorted(glob.glob(os.path.join(p, "nvidia", "*", "lib")))))
' 2> /dev/null)
export LD_LIBRARY_PATH=/usr/local/cuda/lib64${pip_folders:+:$pip_folders}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# plain TEXT: as it may stand in JSON: printable ASCII without backslashes, and one kind of quote.
plain() { tr '"' "'" <<< "$1" | LC_ALL=C tr -cd ' -[]-~'; }

# A line of the table from one of results.json.
in_table() {
  sed -E 's/^\{"check": "([^"]*)", "status": "([^"]*)", "seconds": ([0-9]+), "figures": "([^"]*)"\}$/\1\t\2\t\3\t\4/' |
    awk -F '\t' '{ printf "%-47s %-8s %7s s  %s\n", $1, $2, $3, $4 }'
}

# row NAME STATUS SECONDS WHAT
row() {
  local line others
  line=$(printf '{"check": "%s", "status": "%s", "seconds": %s, "figures": "%s"}' "$1" "$2" "$3" "$(plain "$4")")
  others=$(grep -vF "{\"check\": \"$1\"," "$json")
  printf '%s\n' ${others:+"$others"} "$line" > "$json"
  in_table <<< "$line"
}

# check NAME COMMAND...: passes when the command does; its last line goes into the table.
check() {
  local name=$1 start=$SECONDS status=passed output
  shift
  output=$("$@" 2>&1) || {
    [[ $? == 124 ]] && status='too slow' || status=FAILED # 124: timeout's
    failed=1
  }
  printf '== %s: %s\n%s\n' "$name" "$*" "$output" >> "$log"
  output=$(grep -v '^ *$' <<< "$output" | grep -v '^=*$' | tail -n 1 | cut -c 1-120)
  row "$name" "$status" $((SECONDS - start)) "$output"
}

# sum_of_training FOLDER FLAGS...: of the last checkpoint of a short training on the device.
sum_of_training() {
  local folder=$1
  shift
  $limit bin/tessera_cuda pretrain mae --data builtin: --arch vit_tiny --image-size 32 --patch-size 4 \
    --batch-size 32 --max-steps 10 --eval-every 0 --clip-grad 1 --ema-decay 0.9 --device cuda \
    --out "$folder" "$@" >> "$log" 2>&1 || return 1
  sha256sum < "$folder/step-00000010.safetensors"
}

# Three trainings on the device: the same bytes each time.
same_bytes() {
  local folder first='' sum
  folder=$(mktemp -d)
  for run in 1 2 3; do
    sum=$(sum_of_training "$folder/$run") || return 1
    [[ -z $first || $sum == "$first" ]] || {
      echo "training $run gave other bytes"
      return 1
    }
    first=$sum
  done
  rm -rf "$folder"
  echo "three trainings, one sum: ${first:0:16}"
}

# A training of replayed graphs and one of steps queued anew, in each precision: the same bytes.
graph_is_eager() {
  local folder precision replayed anew
  $limit bin/graph_on_gpu_test || return 1
  folder=$(mktemp -d)
  for precision in f32 bf16 f16; do
    replayed=$(sum_of_training "$folder/$precision" --precision $precision) || return 1
    anew=$(sum_of_training "$folder/$precision-anew" --precision $precision --no-graph) || return 1
    [[ $replayed == "$anew" ]] || {
      echo "$precision: a replayed training gave other bytes than one queued anew"
      return 1
    }
  done
  rm -rf "$folder"
  echo "the same bytes in f32, bf16 and f16"
}

# number KEY LINE: the number of that name in a line of JSON.
number() { sed -E "s/.*\"$1\":([-+.0-9e]+).*/\1/" <<< "$2"; }

# What a card multiplies in 16 bits, dense, by its maker's word (TFLOP/s): of H100 and H200 alone.
card_tflops=''
vit_b=(--device cuda --arch vit_base --image-size 224)

# step_speed BATCH PRECISION FLAGS...: of a step; the whole line goes into the log.
step_speed() {
  local line of_card=''
  line=$($limit bin/tessera_cuda bench step "${vit_b[@]}" --steps 100 --batch-size "$1" --precision "$2" \
    --json "${@:3}") || return
  echo "$line"
  if [[ $2 != f32 && -n $card_tflops ]]; then
    of_card=$(awk -v rate="$(number images_per_s "$line")" -v work="$(number gflop_per_image "$line")" \
      -v card="$card_tflops" 'BEGIN { printf ", %.1f %% of %s TFLOP/s", rate * work / 10 / card, card }')
  fi
  awk -v rate="$(number images_per_s "$line")" -v of_peak="$(number utilisation "$line")" -v of_card="$of_card" \
    -v mebibytes="$(number tensor_peak_mb "$line")" 'BEGIN {
      printf "%.1f images/s, %.1f %% of a large product%s, peak %.0f MiB on the device\n",
        rate, 100 * of_peak, of_card, mebibytes }'
}

# in_file FILE COMMAND...: all that it says goes into the file; the last line is where, and how much.
in_file() {
  local file=$1
  shift
  "$@" > "$file" 2>&1 || {
    local status=$?
    cat "$file"
    return $status
  }
  echo "$file, $(wc -l < "$file") lines"
}

# beside_pytorch FLAGS...: both programs in turn; the last line is the ratio to the faster.
beside_pytorch() {
  local table
  table=$($torch_limit python3 compare/pytorch_step.py --device cuda --tessera bin/tessera_cuda --arch vit_base \
    --image-size 224 --patch-size 16 --steps 100 --python "$(command -v python3)" "$@") || return
  echo "$table"
  grep 'against the fastest' <<< "$table"
}

# check_convolutions NAME COMMAND...: of cuDNN's there is nothing to check where there is no cuDNN.
check_convolutions() {
  if [[ $card == *'convolutions by our own kernels'* ]]; then
    row "$1" skipped 0 "no cuDNN: ${card##*own kernels: }"
  else
    check "$@"
  fi
}

run_tests() {
  check 'op table' $limit bin/cuda_test
  check 'kernels' $limit bin/cuda_kernels_test
  check 'product implementations' $limit bin/cuda_gemm_implementations_test
  check 'fused ops against their parts' $limit bin/cuda_fused_bits_test
  check 'golden numbers' $limit bin/golden_cuda tests/golden --device cuda
  check 'CPU against GPU' $limit bin/parity_on_gpu_test
  check 'attention on tensor cores' $limit bin/attention_on_gpu_test
  check_convolutions 'convolutions, cuDNN and our own' $limit bin/conv_on_gpu_test
  check 'the loader: copies, and views by the device' $limit bin/loader_on_gpu_test
  check 'three trainings' same_bytes
  check 'graph = eager' graph_is_eager
}

run_speed() {
  check 'attention alone, batch 64, bf16' $limit bin/tessera_cuda bench ops --device cuda \
    --only attention --batch-size 64 --precision bf16
  check 'ViT-B/16 step, batch 32, f32' step_speed 32 f32
  check 'ViT-B/16 step, batch 256, bf16' step_speed 256 bf16
  check 'ViT-B/16 step, batch 256, bf16, no graph' step_speed 256 bf16 --no-graph
  check 'ViT-B/16 step, batch 16, bf16' step_speed 16 bf16
  check 'ViT-B/16 step, batch 16, bf16, no graph' step_speed 16 bf16 --no-graph
  check 'ViT-B/16 step op by op, batch 256, bf16' in_file profile.txt $limit bin/tessera_cuda bench step \
    "${vit_b[@]}" --batch-size 256 --precision bf16 --profile
  check 'every op, batch 64, bf16' in_file ops.txt $limit bin/tessera_cuda bench ops --device cuda \
    --batch-size 64 --precision bf16
  check 'every product, batch 256, bf16' in_file gemm.txt $limit bin/tessera_cuda bench gemm "${vit_b[@]}" \
    --batch-size 256 --precision bf16
}

run_torch() {
  local name='ViT-B/16 step beside PyTorch, batch 256, bf16'
  if python3 -c 'import torch' 2> /dev/null; then
    check "$name" beside_pytorch --batch-size 256 --precision bf16
  else
    row "$name" skipped 0 'python3 has no torch'
  fi
}

run_sanitizers() {
  local sanitizer tool program run allowed options
  sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer)
  for tool in memcheck racecheck initcheck synccheck; do
    options=(--tool "$tool" --error-exitcode 1)
    # One test fills the device on purpose; memcheck would count the refusal.
    [[ $tool == memcheck ]] && options+=(--report-api-errors no)
    for program in "${sanitized[@]}"; do
      if [[ -z $sanitizer ]]; then
        row "$tool over $program" skipped 0 'compute-sanitizer is not installed'
        continue
      fi
      run=check
      [[ $program == conv_on_gpu_test ]] && run=check_convolutions
      # The op table runs every kernel at many sizes, and every access is watched: far more than others do.
      [[ $program == cuda_test ]] && allowed=$op_table_limit || allowed=$sanitizer_limit
      $run "$tool over $program" $allowed "$sanitizer" "${options[@]}" "bin/$program"
    done
  done
}

# glibc: as new as the programs need, or one line. Where it is older than our C++ runtime needs, the
# machine's own runtime serves, if it is new enough.
source ./needs # needs_glibc, runtime_needs_glibc, needs_glibcxx
glibc=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)
older() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }
if older "$glibc" "$needs_glibc"; then
  echo "this machine has glibc $glibc; the programs need $needs_glibc" >&2
  exit 2
fi
if older "$glibc" "$runtime_needs_glibc"; then
  mkdir -p lib/unused
  for library in libstdc++.so.6 libgcc_s.so.1; do
    [[ -e lib/$library ]] && mv "lib/$library" lib/unused/
  done
  echo "glibc $glibc is older than $runtime_needs_glibc: the machine's own C++ runtime is used"
fi
missing=$(ldd bin/tessera_cuda 2> /dev/null | awk '$2 == "=>" && $3 == "not" { print $1 }' | sort -u)
for library in $missing; do
  echo "run.sh: $library is missing: it comes with CUDA's toolkit, and with pip (nvidia-cublas) beside a PyTorch" >&2
done
[[ -z $missing ]] || exit 2
bin/tessera_cuda --version > /dev/null 2> needs.log || {
  echo "the programs do not start; a C++ runtime with GLIBCXX_$needs_glibcxx is needed: $(head -n 1 needs.log)" >&2
  exit 2
}
bin/tessera_cuda info | tee -a "$log"
bin/tessera_cuda info --device cuda > /dev/null || exit 1 # says why there is no device
card=$(bin/tessera_cuda info | grep '^cuda ')
case $card in
  *PCIe* | *NVL*) ;; # slower ones of the same name
  *H[12]00*) card_tflops=989 ;;
esac
echo
for part in "${parts[@]}"; do "run_$part"; done
if [[ $# -gt 0 ]]; then
  printf '\nWith what was found before:\n'
  in_table < "$json"
fi
exit $failed
