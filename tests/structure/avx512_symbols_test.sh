#!/usr/bin/env bash
# Code compiled for AVX-512 must leave nothing behind but its entry points: an inline function of a
# header compiled there could become the whole program's, and an older processor would die in it.
set -euo pipefail
symbols=$(nm --extern-only --defined-only "$@" | awk 'NF == 3 { print $3 }')
[ -n "$symbols" ] || { echo "no entry point at all"; exit 1; }
foreign=$(awk '!/^tessera_avx512_/' <<<"$symbols")
[ -z "$foreign" ] || { echo "leaves the AVX-512 code:"; echo "$foreign"; exit 1; }
