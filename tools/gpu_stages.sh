#!/usr/bin/env bash
# tools/gpu_stages.sh [FOLDER [KEY=VALUE…]]: three steps at every ZeRO stage and kind of
# recomputation on this machine's GPU (th_app --selfcheck), one rank over NCCL and 1, 2 and 4 ranks
# that share the GPU, in fp32 and bf16: losses, gradient norms and parameters must have the same
# bits in all of them.
#   FOLDER   a build folder or a package (gpu_check.sh); default: the package that holds this
#            script, else build/ of this repository
#   KEY=VALUE   more of the deck's keys, another size say
# Exit code 0: the same, 1: they differ or a run failed, 77: skipped, with the line
# "skipped: REASON".
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in
  -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
if [ -e "$here/package.txt" ]; then folder=${1:-$here}; else folder=${1:-$here/../build}; fi
[ -x "$folder/bin/th_app" ] || { echo "gpu_stages: error: $folder has no bin/th_app" >&2; exit 1; }
folder=$(cd "$folder" && pwd)
inputs=$folder/inputs
[ -d "$inputs" ] || inputs=$(cd "$here/../inputs" && pwd)
# shellcheck source=tools/run_env.sh
. "$here/run_env.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

reason=$("$folder/bin/th_app" --version 2>/dev/null | sed -n 's/^Devices: cpu (cuda: \(.*\))$/\1/p')
if [ -n "$reason" ]; then echo "skipped: $reason"; exit 77; fi
# Lines of --selfcheck: stage, kind of recomputation, loss, gradient norm, the parameters' hash,
# verdict.
row='^ *[0-3]  (none|selective|full|sqrt) '
deck=("$inputs/stage2.in" --selfcheck train.micro_batches=8 run.device=cuda)
if [ $# -gt 1 ]; then deck+=("${@:2}"); else deck+=(data.batch_size=16); fi
code=0
for dtype in fp32 bf16; do
  : >"$work/rows"
  for run in "1 nccl" "1 mpi" "2 mpi" "4 mpi"; do
    read -r ranks backend <<<"$run"
    timeout -k 10 300 mpirun --oversubscribe -np "$ranks" "$folder/bin/th_app" "${deck[@]}" \
      precision.dtype=$dtype comm.backend="$backend" >"$work/log" 2>&1 </dev/null
    ended=$?
    missing=$(grep -o 'run.device=cuda needs LibTorch.*' "$work/log" | head -n 1)
    if [ -n "$missing" ]; then echo "skipped: $missing"; exit 77; fi
    rows=$(grep -cE "$row" "$work/log")
    grep -E "$row" "$work/log" | awk '{print $3, $4, $5}' >>"$work/rows"
    if [ $ended != 0 ] || [ "$rows" != 16 ]; then
      echo "FAILED $dtype, $ranks ranks, $backend: exit code $ended, $rows of 16 rows"
      tail -n 30 "$work/log"
      code=1
    fi
  done
  if [ "$(sort -u "$work/rows" | wc -l)" = 1 ]; then
    echo "$dtype: 1 rank over NCCL, 1, 2 and 4 ranks over MPI, stages 0 to 3:" \
      "the same bits ($(sort -u "$work/rows"))"
  else
    echo "FAILED $dtype: losses, norms and hashes differ:"
    sort "$work/rows" | uniq -c
    code=1
  fi
done
exit $code
