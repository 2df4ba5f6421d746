#!/usr/bin/env bash
# tools/build.sh [TARGET…]: configures (preset release) and builds into build/. With nothing changed it ends in seconds.
#   TH_WITH_CUDA=AUTO|ON|OFF   the CUDA plugin (default AUTO: on when the toolkit and NCCL are found)
#   TH_LIBTORCH=/path          a LibTorch that is already there
#   TH_JOBS=N                  compilations at a time (default: the cores, at most one for each 2 GiB of memory)
set -euo pipefail
case ${1:-} in -h|--help) sed -n '2,5p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
cuda=${TH_WITH_CUDA:-AUTO}
case $cuda in AUTO|ON|OFF) ;; *) echo "build: error: TH_WITH_CUDA=$cuda; allowed AUTO, ON, OFF" >&2; exit 1 ;; esac
memory_gib=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
jobs=$(nproc)
if [ $((memory_gib / 2)) -lt "$jobs" ]; then jobs=$((memory_gib / 2)); fi
if [ "$jobs" -lt 1 ]; then jobs=1; fi
jobs=${TH_JOBS:-$jobs}
options=(-DTH_WITH_CUDA="$cuda")
[ -z "${TH_LIBTORCH:-}" ] || options+=(-DTH_LIBTORCH="$TH_LIBTORCH")
mkdir -p build
log=build/configure.log
echo "build: configuring build/ (TH_WITH_CUDA=$cuda)"
cmake --preset release "${options[@]}" >"$log" 2>&1 || { tail -n 30 "$log" >&2; echo "build: error: configuring failed (whole log: $root/$log)" >&2; exit 1; }
echo "build: compiling with $jobs jobs"
ninja -C build -j "$jobs" "$@" || { echo "build: error: compiling failed, the compiler's lines are above" >&2; exit 1; }
