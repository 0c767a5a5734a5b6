#!/usr/bin/env bash
# Runs the tests under other conditions: other kernels, instructions, locales, time zones, permissions, loads, orders.
# Usage: benchmarks/variations.sh [NAME...] [-- PYTEST ARGUMENTS]     (all names: about ten times as long as `make test`)
#
# A variation that is not possible on this machine is reported and skipped. Exit code 1: tests failed in one of them.
set -u
cd "$(dirname "$0")/.." || exit 2
names=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do names+=("$1") && shift; done
[ "${1:-}" = -- ] && shift
tests=("$@")
export OMP_NUM_THREADS=1
failed=()

# vary NAME WORKERS VARIABLE=VALUE... : run the tests in that environment.
vary() {
    local name=$1 workers=$2
    shift 2
    [[ ${#names[@]} = 0 || " ${names[*]} " == *" $name "* ]] || return
    echo "==== $name: $*"
    env "$@" python -m pytest -q -n "$workers" ${order[@]+"${order[@]}"} ${tests[@]+"${tests[@]}"} || failed+=("$name")
}

absent() { echo "==== $1: skipped, $2"; }

order=()
# OpenBLAS does not check this: without the instructions of the kernel, the program crashes.
for kernel in Prescott Nehalem Sandybridge Haswell Zen SkylakeX Cooperlake; do
    needed=avx512f
    [[ $kernel =~ Skylake|Cooper ]] || needed=
    if [ -n "$needed" ] && ! grep -qw "$needed" /proc/cpuinfo; then absent "$kernel" "the processor has no $needed"; continue; fi
    vary "$kernel" 2 OPENBLAS_CORETYPE="$kernel"
done
# torch without vector instructions; NumPy and libm without AVX2 and FMA; Intel's libraries with old instructions.
vary old-instructions 2 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Prescott \
    GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA
vary avx2 2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
vary one-worker 1 OMP_NUM_THREADS=4
vary four-workers 4
for place in de_DE.UTF-8 tr_TR.UTF-8 C; do
    locale -a 2> /dev/null | grep -qix "${place/UTF-8/utf8}" || { absent "$place" "no such locale"; continue; }
    vary "$place" 2 LC_ALL="$place" TZ=Asia/Kathmandu
done
umask 077
vary strict 2 TZ=Pacific/Auckland HOME=/dev/null/none TMPDIR="$(mktemp -d "/tmp/with spaces XXXX")" PYTHONHASHSEED=7
umask 022
if python -c 'import pytest_randomly' 2> /dev/null; then
    order=(-p randomly)
    vary random-order 2
else
    absent random-order "pip install pytest-randomly"
fi
[ ${#failed[@]} = 0 ] || { echo "Failed: ${failed[*]}"; exit 1; }
