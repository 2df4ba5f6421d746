#!/usr/bin/env bash
# tools/build.sh [all | TARGET…]: configures (preset release) and builds into build/.
#   without an argument: the programs, and the CUDA plugin where a GPU is here
#   all: the tests and benchmarks too, and the plugin where the CUDA toolkit and NCCL are found
#   TH_WITH_CUDA=AUTO|ON|OFF   the plugin as said (default), always, or never
#   TH_LIBTORCH=/path          a LibTorch that is already there
#   TH_JOBS=N                  compilations at a time (default: the cores, one for each 2 GiB)
# Takes three minutes on 2 cores, `all` about six; seconds where nothing changed.
set -euo pipefail
case ${1:-} in
  -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
  -*) echo "build: error: unknown option '$1'; allowed: all, or names of targets" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
cuda=${TH_WITH_CUDA:-AUTO}
log=build/configure.log

say() { printf 'build: %s\n' "$*"; }
fail() { printf 'build: error: %s\n' "$*" >&2; exit 1; }

# The cores, but no more compilations than memory holds.
jobs_here() {
  local cores memory
  # nproc answers with OMP_NUM_THREADS where that is set, as run_env.sh does.
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
  memory=$(awk '/^MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
  if [ "$memory" -lt "$cores" ]; then cores=$memory; fi
  if [ "$cores" -lt 1 ]; then cores=1; fi
  echo "$cores"
}

gpu_here() {
  [ -e /dev/nvidia0 ] || nvidia-smi -L 2>/dev/null | grep -q '^GPU '
}

configure() {
  local options=(-DTH_WITH_CUDA="$cuda")
  [ -z "${TH_LIBTORCH:-}" ] || options+=(-DTH_LIBTORCH="$TH_LIBTORCH")
  mkdir -p build
  say "configuring build/ (TH_WITH_CUDA=$cuda)"
  if ! cmake --preset release "${options[@]}" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "configuring failed (whole log: $root/$log)"
  fi
}

case $cuda in
  AUTO|ON|OFF) ;;
  *) fail "TH_WITH_CUDA=$cuda; allowed AUTO, ON, OFF" ;;
esac
configure
targets=("$@")
if [ $# = 0 ]; then
  targets=(programs)
  if [ "$cuda" = ON ] || { [ "$cuda" = AUTO ] && gpu_here; }; then targets+=(plugin); fi
elif [ "$*" = all ]; then
  sed -n 's/^-- \(Tests: no;.*\)/build: \1/p' "$log"
fi
jobs=${TH_JOBS:-$(jobs_here)}
say "compiling ${targets[*]} with $jobs jobs"
ninja -C build -j "$jobs" "${targets[@]}" ||
  fail "compiling failed, the compiler's lines are above"
