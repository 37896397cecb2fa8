#!/usr/bin/env bash
# tools/gpu/run.sh, dry: every part, whole and alone, with stand-ins for the programs, PyTorch and
# compute-sanitizer. Rule: in a folder of its own; what is checked is results.json, as Python reads it.
set -euo pipefail

folder=$TEST_TMPDIR/tessera-gpu
mkdir -p "$folder/bin" "$folder/lib" "$folder/compare" "$TEST_TMPDIR/path"
cp -L tools/gpu/run.sh "$folder/"
printf 'needs_glibc=2.17\nruntime_needs_glibc=2.17\nneeds_glibcxx=3.4\n' > "$folder/needs"
tests=(parity_on_gpu_test cuda_kernels_test attention_on_gpu_test conv_on_gpu_test loader_on_gpu_test
  graph_on_gpu_test cuda_gemm_implementations_test cuda_fused_bits_test cuda_test)
for program in "${tests[@]}" golden_cuda; do
  printf '#!/bin/sh\necho "All tests passed (7 assertions)"\n' > "$folder/bin/$program"
done
# What JSON cannot hold as it is.
printf '#!/bin/sh\nprintf "a \\"word\\", a \\\\\\\\ and a \\\\t in it\\\\n"\n' > "$folder/bin/cuda_kernels_test"
cat > "$folder/bin/tessera_cuda" << 'STANDIN'
#!/usr/bin/env bash
case "$1 ${2-} $*" in
  'info '*)
    echo 'cpu          a processor'
    echo "cuda         NVIDIA H200; convolutions by ${convolutions:-cuDNN 9.19.0}"
    ;;
  'pretrain mae '*)
    while [[ $1 != --out ]]; do shift; done
    mkdir -p "$2"
    echo weights > "$2/step-00000010.safetensors"
    ;;
  'bench step '*--json*)
    echo '{"images_per_s":2000.5,"gflop_per_image":58.5,"utilisation":0.5,"tensor_peak_mb":9000.0}'
    echo "$*" >> steps
    ;;
  'bench '*) echo 'a table' ;;
esac
STANDIN
cat > "$TEST_TMPDIR/path/python3" << 'STANDIN'
#!/usr/bin/env bash
[[ $1 == compare/pytorch_step.py ]] && { echo '  against the fastest of them: 1.31 x the speed'; exit; }
[[ ${2-} == 'import torch' ]] && exit "$no_torch"
echo /of/pip
STANDIN
printf '#!/bin/sh\necho "========= ERROR SUMMARY: 0 errors"\n' > "$TEST_TMPDIR/path/compute-sanitizer"
chmod +x "$folder"/bin/* "$TEST_TMPDIR"/path/*
python=$(command -v python3)
export PATH=$TEST_TMPDIR/path:$PATH no_torch=0

fail() {
  echo "gpu_run_test: $*" >&2
  exit 1
}
# run STATUS WORDS...: the script ends so; what it says goes to `said`.
run() {
  local status=0
  "$folder/run.sh" "${@:2}" > "$TEST_TMPDIR/said" 2>&1 || status=$?
  [[ $status == "$1" ]] || fail "run.sh ${*:2} ended with $status, not $1: $(cat "$TEST_TMPDIR/said")"
}
# rows EXPRESSION: a Python expression of rows, {name: row}, holds.
rows() {
  "$python" - "$folder/results.json" "$1" << 'PYTHON' || fail "$1: $(cat "$folder/results.json")"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1], encoding="ascii")]
rows = {line["check"]: line for line in lines}
assert len(rows) == len(lines), "a check has two rows"
sys.exit(0 if eval(sys.argv[2]) else 1)
PYTHON
}

# All of it: 11 tests, 9 of speed, PyTorch, 4 tools over 9 tests.
run 0
rows 'len(rows) == 11 + 9 + 1 + 36'
rows 'all(row["status"] == "passed" for row in rows.values())'
rows 'rows["kernels"]["figures"] == "a '"'word'"', a  and a  in it"'
rows '"2000.5 images/s, 50.0 % of a large product, 11.8 % of 989" in rows["ViT-B/16 step, batch 256, bf16"]["figures"]'
rows '"1.31 x" in rows["ViT-B/16 step beside PyTorch, batch 256, bf16"]["figures"]'
rows 'list(rows).index("every op, batch 64, bf16") < list(rows).index("memcheck over cuda_test")'
grep -q -- '--steps 100' "$folder/steps" || fail 'a step is not timed over 100'

# In parts: what was found before stays, a check that is run again has one row, and the table is whole.
rm "$folder/results.json"
run 0 speed
rows 'len(rows) == 9'
run 0 tests
rows 'len(rows) == 20'
run 0 sanitizers cuda_test conv_on_gpu_test
rows 'len(rows) == 20 + 8'
run 0 sanitizers cuda_test
rows 'len(rows) == 20 + 8'
grep -q 'ViT-B/16 step, batch 16, bf16, no graph *passed' "$TEST_TMPDIR/said" || fail 'the table has gaps'

# What is missing is skipped and says why; what fails fails, and the rest goes on.
printf '#!/bin/sh\necho broken\nexit 1\n' > "$folder/bin/cuda_test"
no_torch=1 convolutions='our own kernels: libcudnn.so.9 is not there' run 1 tests torch
rows 'rows["op table"]["status"] == "FAILED" and rows["op table"]["figures"] == "broken"'
rows 'rows["convolutions, cuDNN and our own"]["status"] == "skipped"'
rows '"no cuDNN: libcudnn.so.9" in rows["convolutions, cuDNN and our own"]["figures"]'
rows 'rows["ViT-B/16 step beside PyTorch, batch 256, bf16"]["status"] == "skipped"'
rows 'rows["graph = eager"]["status"] == "passed"'

# A library that is not there has a line of its own; a wrong word another.
printf '#!/bin/sh\necho "  libcublas.so.13 => not found"\n' > "$TEST_TMPDIR/path/ldd"
chmod +x "$TEST_TMPDIR/path/ldd"
run 2 tests
grep -q 'libcublas.so.13 is missing' "$TEST_TMPDIR/said" || fail 'the library that is missing is not named'
run 2 tests quickly
grep -q 'quickly: it is tests' "$TEST_TMPDIR/said" || fail 'a wrong word is not named'
run 2 cuda_test
echo passed
