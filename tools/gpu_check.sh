#!/usr/bin/env bash
# tools/gpu_check.sh [FOLDER [REPORT]]: what this machine's GPU does with th_app, in one text file.
#   FOLDER   a build folder, or the folder that `ninja -C build package` makes (unpack its .tar.gz
#            anywhere); default: the package that holds this script, else build/ of this repository
#   REPORT   default gpu_check.txt in the working directory
#   TH_LIBTORCH=/path   LibTorch (with lib/) for a package; default: the folder of python3's torch
#   TH_CHECK_KEYS="KEY=VALUE…"   more keys for the benchmark on the CPU, a smaller model say
# Runs the programs of ctest's label gpu, the equality of the ZeRO stages' bits (gpu_stages.sh),
# compute-sanitizer over the kernels, a short benchmark, two traces (beside the report) and, where
# python3 has a PyTorch with CUDA, the same model by PyTorch; what cannot run is skipped with its
# reason.
# Exit code 0: nothing failed (skips are no failures), 1: something failed, 2: wrong use.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in
  -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
if [ -e "$here/package.txt" ]; then folder=${1:-$here}; else folder=${1:-$here/../build}; fi
report=${2:-gpu_check.txt}
[ -x "$folder/bin/th_app" ] && [ -e "$folder/gpu_tests.txt" ] || {
  echo "gpu_check: error: $folder is no build folder and no package:" \
    "it needs bin/th_app and gpu_tests.txt" >&2
  exit 2
}
folder=$(cd "$folder" && pwd)
: >"$report" || { echo "gpu_check: error: cannot write $report" >&2; exit 2; }
report=$(readlink -f "$report")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 skipped=0 failed=0 cuda_bf16=

say() { printf '%s\n' "$*" | tee -a "$report"; }
section() { say ""; say "== $* =="; }
pass() { passed=$((passed + 1)); say "passed   $*"; }
skip() { skipped=$((skipped + 1)); say "skipped  $*"; }
fail() { failed=$((failed + 1)); say "FAILED   $*"; }
indent() { sed 's/^/    /' "$1" | tee -a "$report"; }
# limited COMMAND…: its output in $work/log; 124 after ten minutes.
limited() { timeout -k 10 600 "$@" >"$work/log" 2>&1 </dev/null; }
# judge NAME CODE: a test program's end. Its reason for a skip is the line "skipped: …".
judge() {
  case $2 in
    0) pass "$1" ;;
    77) skip "$1: $(sed -n 's/^skipped: //p' "$work/log" | sort -u | head -n 1)" ;;
    *) fail "$1: exit code $2"; tail -n 40 "$work/log" >"$work/tail"; indent "$work/tail" ;;
  esac
}
field() { sed -n "s/^$1=//p" "$folder/package.txt"; }

# The version of this machine's C library.
c_library() { getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2; }

describe_machine() {
  section machine
  say "gpu_check of $folder, $(date -u +%FT%TZ)"
  say "$(uname -srm), $(nproc) processors, C library $(c_library)"
  if command -v nvidia-smi >/dev/null; then
    local fields=index,name,memory.total,driver_version,compute_cap,clocks.max.sm,power.limit
    nvidia-smi --query-gpu=$fields --format=csv >"$work/smi" 2>&1
    indent "$work/smi"
  else
    say "nvidia-smi: not here"
  fi
}

# A package brings Open MPI and the libraries, LibTorch is this machine's. Returns 1 where th_app
# cannot run.
use_package() {
  export OPAL_PREFIX=$folder PMIX_INSTALL_PREFIX=$folder PATH=$folder/bin:$PATH
  # This machine's own PMIx may have plugins that do not fit the package's library.
  export PMIX_MCA_mca_base_component_show_load_errors=0 PMIX_MCA_pcompress_base_silence_warning=1
  say "package of $(field git); needs C library $(field glibc) and LibTorch $(field torch)"
  local have newest torch version
  have=$(c_library)
  newest=$(printf '%s\n' "${have:-0}" "$(field glibc)" | sort -V | tail -n 1)
  if [ "$newest" != "$have" ]; then
    fail "start: this machine's C library is ${have:-unknown}, the package needs" \
      "$(field glibc): build on an older system"
    return 1
  fi
  torch=${TH_LIBTORCH:-}
  local its_folder='import os, torch; print(os.path.dirname(torch.__file__))'
  [ -n "$torch" ] || torch=$(cd / && python3 -c "$its_folder" 2>/dev/null)
  if [ ! -e "$torch/lib/libtorch_cpu.so" ]; then
    skip "everything: no LibTorch; set TH_LIBTORCH=/path (a folder with lib/libtorch_cpu.so) or" \
      "install torch $(field torch) for python3"
    return 1
  fi
  version=$(sed -n "s/^__version__ = '\([^']*\)'.*/\1/p" "$torch/version.py" 2>/dev/null)
  [ -n "$version" ] || version=$(cat "$torch/build-version" 2>/dev/null)
  say "LibTorch ${version:-of unknown version}: $torch"
  if [ -n "$version" ] && [ "${version%%[+]*}" != "$(field torch)" ]; then
    fail "start: the package was built with LibTorch $(field torch)"
    return 1
  fi
  # The package's programs look for LibTorch and NCCL behind this link.
  ln -sfn "$torch" "$folder/libtorch" || {
    fail "start: cannot make the link $folder/libtorch"
    return 1
  }
}

# lacking FILE: the libraries that it does not find, in a line.
lacking() { ldd "$1" 2>&1 | awk '/not found/ {print $1}' | sort -u | paste -sd ' '; }

run_tests() {
  section "tests of label gpu"
  local name ranks program arguments absent
  absent=$(lacking "$folder/lib/libth_cuda.so")
  if [ -n "$absent" ]; then
    skip "all of them: $absent is not here (NCCL comes with PyTorch's CUDA wheel;" \
      "LD_LIBRARY_PATH may say where it is)"
    return
  fi
  while read -r name ranks program arguments; do
    [ -n "$name" ] || continue
    # shellcheck disable=SC2086  # arguments are words
    if [ "$ranks" = 0 ]; then limited "$folder/bin/$program" $arguments
    else limited mpirun --oversubscribe -np "$ranks" "$folder/bin/$program" $arguments; fi
    judge "$name" $?
  done <"$folder/gpu_tests.txt"
}

run_sanitizer() {
  section compute-sanitizer
  if ! command -v compute-sanitizer >/dev/null; then
    skip "compute-sanitizer is not here (it comes with the CUDA toolkit)"
    return
  fi
  local tool kernels=$folder/bin/th_gpu_kernels
  if [ -n "$(lacking "$kernels")" ]; then skip "th_gpu_kernels cannot start, see above"; return; fi
  for tool in memcheck racecheck; do
    "$kernels" --gtest_brief=1 >"$work/log" 2>&1 || { judge "$tool th_gpu_kernels" $?; continue; }
    limited compute-sanitizer --tool "$tool" --error-exitcode 9 "$kernels" --gtest_brief=1
    judge "$tool th_gpu_kernels" $?
  done
}

run_stages() {
  section "stages, bit by bit"
  limited bash "$here/gpu_stages.sh" "$folder"
  local code=$?
  judge "stage equality on the GPU" $code
  if [ $code = 0 ]; then indent "$work/log"; fi
}

# peer_rate MODE: what run_peers measured of it in bf16, tokens a second.
peer_rate() {
  local run="\"engine\": \"$1\", \"dtype\": \"bf16\""
  sed -n "s/.*$run.*\"tokens_per_second\": \([0-9.]*\).*/\1/p" "$work/peers" 2>/dev/null
}

# th_app's products beside those of peer_gpu.py: products of a token of this model times th_app's
# rate, and their share of the peak where peer_gpu.py knows the GPU's.
say_products() {
  head -n 1 "$work/peers" | python3 -c '
import json, sys
peer, rate = json.load(sys.stdin), float(sys.argv[1])
scale = rate / peer["tokens_per_second"]
share = ", %.3f of the peak" % (scale * peer["share_of_peak"]) if "share_of_peak" in peer else ""
print("th_app, bf16, 128 sentences: %.1f TFLOP/s of products%s" % (scale * peer["tflops"], share))
' "$cuda_bf16" >"$work/share" 2>&1
  say "$(cat "$work/share")"
}

# The model of inputs/benchmark.in by PyTorch, eager and compiled, on the same GPU with as many
# sentences.
run_peers() {
  section "PyTorch on the same GPU, 128 sentences"
  : >"$work/peers"
  if ! python3 -c 'import torch' 2>/dev/null; then
    skip "python3 has no torch: nothing to compare with"
    return
  fi
  local script=$here/../benchmarks/peers/peer_gpu.py name ratio
  [ -e "$script" ] || script=$folder/benchmarks/peer_gpu.py
  for name in eager compile; do
    limited python3 "$script" --batch 128 --steps 20 --modes $name
    judge "PyTorch $name, bf16" $?
    grep -a '^{' "$work/log" | tee -a "$work/peers" >"$work/line"
    indent "$work/line"
  done
  if [ -n "$cuda_bf16" ] && [ -s "$work/peers" ]; then say_products; fi
  for name in eager compile; do
    if [ -n "$cuda_bf16" ] && [ -n "$(peer_rate $name)" ]; then
      ratio=$(awk -v a="$cuda_bf16" -v b="$(peer_rate $name)" 'BEGIN {printf "%.2f", a / b}')
      say "th_app : PyTorch $name = $ratio"
    fi
  done
}

# bench NAME RANKS KEY=VALUE…: th_app on random ids, tokens a second, which it leaves in `rate`.
rate=""
bench() {
  local name=$1 ranks=$2 code
  shift 2
  (cd "$work" && rm -rf out* && limited mpirun --oversubscribe -np "$ranks" \
    "$folder/bin/th_app" "$inputs/benchmark.in" run.output_dir=out "$@")
  code=$?
  rate=$(grep -o '"tokens_per_second":[0-9.e+]*' "$work/out/metrics.jsonl" 2>/dev/null |
    cut -d: -f2)
  if [ $code = 0 ] && [ -n "$rate" ]; then
    pass "$name: $rate tokens/s"
  else
    fail "$name: exit code $code"
    tail -n 15 "$work/log" >"$work/tail"
    indent "$work/tail"
  fi
}

run_benchmark() {
  section benchmark
  local short=(model.num_encoder_layers=2 model.num_decoder_layers=2 train.max_steps=6
    run.warmup_steps=2 monitor.tensorboard=false run.device=cpu)
  # Several words, so without quotes.
  # shellcheck disable=SC2206
  short+=(${TH_CHECK_KEYS:-})
  bench "cpu, 1 rank, 2+2 layers" 1 "${short[@]}"
  bench "cpu, 2 ranks, stage 2, 2+2 layers" 2 "${short[@]}" zero.stage=2
  local reason gpu=(run.device=cuda monitor.tensorboard=false)
  reason=$("$folder/bin/th_app" --version 2>/dev/null |
    sed -n 's/^Devices: cpu (cuda: \(.*\))$/\1/p')
  if [ -n "$reason" ]; then skip "cuda: $reason"; return; fi
  reason=$("$folder/bin/th_app" "$inputs/benchmark.in" run.output_dir="$work/first" \
    "${gpu[@]}" train.max_steps=1 2>&1 | sed -n 's/.*\(run.device=cuda needs LibTorch.*\)/\1/p')
  if [ -n "$reason" ]; then skip "cuda: $reason"; return; fi
  bench "cuda, 1 rank" 1 "${gpu[@]}"
  bench "cuda, 1 rank, 128 sentences" 1 "${gpu[@]}" data.batch_size=128
  local bf16=("${gpu[@]}" precision.dtype=bf16)
  local full=("${bf16[@]}" data.batch_size=128 train.max_steps=53)
  bench "cuda, 1 rank, bf16" 1 "${bf16[@]}"
  bench "cuda, 1 rank, bf16, 128 sentences" 1 "${full[@]}"
  cuda_bf16=$rate
  bench "cuda, 1 rank, bf16, 128 sentences, stage 2" 1 "${full[@]}" zero.stage=2
  bench "cuda, 1 rank, bf16, 128 sentences, stage 3" 1 "${full[@]}" zero.stage=3
  bench "cuda, 1 rank, bf16, stage 3, offloaded" 1 "${bf16[@]}" zero.stage=3 \
    zero.offload_optimizer=true zero.offload_parameters=true
  local shared=(comm.backend=mpi zero.stage=2)
  bench "cuda, 2 ranks on one GPU, bf16, stage 2" 2 "${bf16[@]}" "${shared[@]}"
  bench "cuda, 2 ranks on one GPU, stage 2" 2 "${gpu[@]}" "${shared[@]}"
}

# trace NAME KEY=VALUE…: three steps as trace.json beside the report, and what of communication and
# copies went on beside compute.
trace() {
  local name=$1 to=${report%.txt}_trace_$1.json code
  shift
  (cd "$work" && rm -rf out* && limited "$folder/bin/th_app" "$inputs/benchmark.in" \
    run.output_dir=out run.device=cuda precision.dtype=bf16 data.batch_size=128 \
    monitor.tensorboard=false profile.enabled=true profile.first_step=8 profile.steps=3 "$@")
  code=$?
  if [ $code = 0 ] && cp "$work/out/trace.json" "$to"; then
    pass "trace $name: $to"
  else
    fail "trace $name: exit code $code"
  fi
  sed -n 's/.*\(Trace of steps.*\)/\1/p' "$work/log" >"$work/line"
  indent "$work/line"
}

run_traces() {
  section "traces of steps 8 to 10, 128 sentences, bf16"
  if [ -z "$cuda_bf16" ]; then skip "traces: no run on a GPU, see above"; return; fi
  trace stage0
  trace stage3_offload zero.stage=3 zero.offload_optimizer=true zero.offload_parameters=true
}

describe_machine
inputs=$folder/inputs
[ -d "$inputs" ] || inputs=$(cd "$here/../inputs" 2>/dev/null && pwd)
ready=1
if [ -e "$folder/package.txt" ]; then use_package || ready=0; fi
if [ $ready = 1 ]; then
  # shellcheck source=tools/run_env.sh
  . "$here/run_env.sh"
  section programs
  absent=$(lacking "$folder/bin/th_app")
  if [ -n "$absent" ]; then fail "start: th_app does not find $absent"; fi
  limited "$folder/bin/th_app" --version
  code=$?
  indent "$work/log"
  if [ $code = 0 ]; then pass "th_app --version"; else fail "th_app --version: exit code $code"; fi
  run_tests
  run_stages
  run_sanitizer
  run_benchmark
  run_traces
  run_peers
fi
section summary
say "$passed passed, $skipped skipped, $failed failed; report: $report"
[ $failed = 0 ]
