#!/usr/bin/env bash
# benchmarks/run_all.sh [PART…]: runs the benchmarks and prints their tables in Markdown, as
# benchmarks/RESULTS.md has them. Nothing else should run on the machine meanwhile. Build first
# (tools/build.sh all). Parts, all of them where none is named:
#   machine      processor, memory, compiler, libraries
#   linear       oneDNN against MKL by the model's shapes, is run.gemm=auto right        (5 s)
#   kernels      attention, loss, dropout, optimizer, batcher                            (30 s)
#   lengths      attention by length, beside products and LibTorch's                    (3 minutes)
#   collectives  exact exchange and gather against MPI's own, at 2 and 8 ranks           (15 s)
#   step         the whole step by stage and gradient checkpointing, at 1 and 2 ranks    (3 minutes)
#   scaling      docs/scaling.md's model from kernels, collectives and step, against them
#   traffic      bytes sent in a step, measured against the plan, at 1, 2, 4 and 8 ranks (4 minutes)
#   peers        DDP, FSDP2, DeepSpeed beside th_app (TH_PEERS_PYTHON or a venv)        (10 minutes)
# TH_BENCH_STEP_RANKS (1 2): rank counts of the part step. TH_PEERS_ROUNDS, TH_PEERS_STEPS,
# TH_PEERS_ONLY (3, 10, all pairs): peers/run_peers.py.
# TH_BENCH_DIR=/path keeps Google Benchmark's JSON files and scaling.json (default
# build/benchmarks/results).
set -euo pipefail
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
results=${TH_BENCH_DIR:-build/benchmarks/results}
mkdir -p "$results"
# shellcheck source=tools/run_env.sh
. tools/run_env.sh
ok=0

# run NAME COMMAND…: standard output is the table; the single measurements go to a log.
run() {
  local name=$1
  shift
  "$@" 2>"$results/$name.log" || {
    ok=1
    echo "FAILED: $* (end of $results/$name.log below)"
    tail -n 5 "$results/$name.log"
  }
  echo
}
json_out() { echo "--benchmark_out=$results/$1.json" --benchmark_out_format=json; }

part_machine() {
  echo "## Machine"
  echo
  local fields='Model name|CPU\(s\)|Thread\(s\) per core|Core\(s\) per socket'
  fields+='|L1d cache|L2 cache|L3 cache|Hypervisor vendor'
  lscpu | grep -E "^($fields)" | awk -F ': *' '{printf "- %s: %s\n", $1, $2}'
  awk '/^MemTotal/ {printf "- Memory: %.0f GiB\n", $2 / 1048576}' /proc/meminfo
  build/bin/th_app --version | sed -n '1,3s/^/- /p'
  echo "- $(mpirun --version | head -n 1), Linux $(uname -r), $(date -u +%Y-%m-%d)"
  echo
}
part_linear() {
  printf '## Linear layers: oneDNN against MKL\n\n'
  # shellcheck disable=SC2046
  run linear build/bin/bench_linear $(json_out linear)
}
part_kernels() {
  printf '## Kernels\n\n'
  local name
  for name in attention loss dropout adam batcher; do
    printf '### %s\n\n' "$name"
    # shellcheck disable=SC2046
    if build/bin/bench_"$name" $(json_out "$name") >"$results/$name.log" 2>&1; then
      python3 benchmarks/markdown_table.py "$results/$name.json"
    else
      ok=1; echo "FAILED: bench_$name"; tail -n 5 "$results/$name.log"
    fi
    echo
  done
}
part_lengths() {
  printf '## Attention by length\n\n'
  # shellcheck disable=SC2046
  run lengths build/bin/bench_attention_lengths $(json_out lengths)
}
part_collectives() {
  printf '## Collectives\n\n'
  local np
  for np in 2 8; do
    # shellcheck disable=SC2046
    run "collectives_np$np" mpirun -np "$np" build/bin/bench_collectives \
      $(json_out "collectives_np$np")
  done
}
part_step() {
  printf '## The whole step\n\n'
  local np
  for np in ${TH_BENCH_STEP_RANKS:-1 2}; do
    # shellcheck disable=SC2046
    run "step_np$np" mpirun -np "$np" build/bin/bench_step $(json_out "step_np$np")
  done
}
part_scaling() {
  printf '## Scaling model\n\n'
  local file
  for file in step_np1 step_np2 collectives_np2 adam; do
    [ -s "$results/$file.json" ] || {
      echo "Not computed: $results/$file.json is missing (parts step, collectives, kernels)"
      echo
      return
    }
  done
  python3 benchmarks/scaling_model.py --collect "$results" >"$results/scaling.json"
  run scaling python3 benchmarks/scaling_model.py "$results/scaling.json"
}
part_traffic() {
  printf '## Bytes sent in a step\n\n'
  run traffic python3 benchmarks/check_traffic.py
}
part_peers() {
  printf '## Peers\n\n'
  local only=()
  [ -z "${TH_PEERS_ONLY:-}" ] || only=(--only "$TH_PEERS_ONLY")
  run peers python3 benchmarks/peers/run_peers.py --rounds "${TH_PEERS_ROUNDS:-3}" \
    --steps "${TH_PEERS_STEPS:-10}" "${only[@]}" --results "$results/peers.json"
}

run_part() {
  case $1 in
    machine) part_machine ;;
    linear) part_linear ;;
    kernels) part_kernels ;;
    lengths) part_lengths ;;
    collectives) part_collectives ;;
    step) part_step ;;
    scaling) part_scaling ;;
    traffic) part_traffic ;;
    peers) part_peers ;;
    *) echo "run_all: unknown part '$1'; there are: ${all[*]}" >&2; exit 2 ;;
  esac
}

all=(machine linear kernels lengths collectives step scaling traffic peers)
[ $# -gt 0 ] || set -- "${all[@]}"
for part in "$@"; do run_part "$part"; done
exit $ok
