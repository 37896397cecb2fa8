#!/usr/bin/env bash
# The program with the CUDA backend, as nvcc made it: it starts on a machine without a GPU and says
# so; `--device cuda` is one clear line there, and `--device auto` takes the CPU.
set -euo pipefail

if [[ $1 == none ]]; then
  echo "skipped: //cuda (no CUDA toolkit in /usr/local/cuda; set CUDA_HOME)"
  exit 0
fi
program=tools/tessera_cuda
fail() {
  echo "toolkit_test: $*" >&2
  exit 1
}

line=$("$program" info | grep '^cuda ')
echo "$line"
[[ $line != *'no cuda backend'* ]] || fail "the backend is not in the program"
if [[ -e /dev/nvidiactl ]]; then
  exit 0 # a machine with a GPU: what runs there is tested there
fi
status=0
"$program" info --device cuda > /dev/null 2> "$TEST_TMPDIR/errors" || status=$?
cat "$TEST_TMPDIR/errors"
[[ $status == 2 ]] || fail "--device cuda: exit status $status"
[[ $(wc -l < "$TEST_TMPDIR/errors") == 1 ]] || fail "--device cuda: not one line"
grep -q -- '--device cuda' "$TEST_TMPDIR/errors" || fail "--device cuda: the line does not name it"
"$program" info --device auto > /dev/null || fail "--device auto"
