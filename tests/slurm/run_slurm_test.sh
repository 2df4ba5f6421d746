#!/usr/bin/env bash
# run_slurm_test.sh single|multi|requeue|translate SOURCE_DIR TH_APP: one job script in a throw-away
# Slurm of two virtual nodes.
#   single   jobs/single_node.sbatch with srun: 4 ranks, 4 steps, compared bit by bit with one
#            process
#   multi    jobs/multi_node.sbatch with srun and again with mpirun: 8 ranks on 2 nodes, the same
#            comparison
#   requeue  USR1 in mid-run: checkpoint, code 75, requeued by the script itself, ends with every
#            step once
#   translate  jobs/translate.sbatch with srun, USR1 in between: requeued, and the lines that one
#            process writes
# Exit 0 passed, 1 failed, 77 no Slurm here.
#   TH_SLURM_SANDBOX   the sandbox script (default ../shared/slurm/slurm_sandbox.sh)
set -uo pipefail
case_name=$1 source_dir=$2 app=$3
# shellcheck source=tests/slurm/sandbox.sh
. "$source_dir/tests/slurm/sandbox.sh" th-slurm-test
finish() {
  local rc=$?
  bash "$sandbox" clean >/dev/null 2>&1
  if [ "$rc" = 0 ]; then
    rm -rf "$work"
  else
    tail -n 40 "$work"/*.log 2>/dev/null
    echo "kept for a look: $work"
  fi
  exit "$rc"
}
trap finish EXIT
fail() { echo "FAILED: $*"; exit 1; }
bash "$sandbox" start || fail "the sandbox did not start"
eval "$(bash "$sandbox" env)"
# Eight ranks on this machine's few cores: waiting ranks give way. sbatch hands the environment to
# the job.
# shellcheck source=tools/run_env.sh
. "$source_dir/tools/run_env.sh"

data=$source_dir/inputs/data
overrides=(model.d_model=32 model.num_heads=2 model.num_encoder_layers=1
  model.num_decoder_layers=1 model.d_ff=64 data.batch_size=4 train.micro_batches=8 train.epochs=50
  run.threads=1)
for language in en fr; do
  head -n 320 "$data/numbers.train.$language" >"$work/train.$language"
  head -n 16 "$data/numbers.valid.$language" >"$work/valid.$language"
  head -n 4 "$data/numbers.test.$language" >"$work/test.$language"
done
for part in train valid test; do
  overrides+=("data.${part}_source=$work/$part.en" "data.${part}_target=$work/$part.fr")
done

# submit NAME SCRIPT OVERRIDE…: prints the job's number; its log is NAME.log, its output NAME/
submit() {
  local name=$1 script=$2; shift 2
  TH_APP=$app sbatch --parsable --chdir="$source_dir" --time=10 --output="$work/$name.log" \
    "$source_dir/jobs/$script" "${overrides[@]}" "run.output_dir=$work/$name" "$@" || {
    echo "FAILED: sbatch refused jobs/$script" >&2
    return 1
  }
}
wait_job() { bash "$sandbox" wait "$1" "${2:-200}"; }
# finish_job NUMBER: waits for its end with code 0.
finish_job() { wait_job "$1" || fail "job $1 did not end with code 0"; }
losses() {
  grep -o '"kind":"step".*' "$1/metrics.jsonl" | grep -oE '"(step|loss|grad_norm)":[^,}]*' |
    paste - - -
}

# The answer of one process, bit for bit what every layout of ranks has to give.
reference() {
  env -u SLURM_CONF "$app" "$source_dir/inputs/ddp.in" "${overrides[@]}" \
    "run.output_dir=$work/reference" train.max_steps=4 checkpoint.resume=none \
    >"$work/reference.log" 2>&1 || fail "the run of one process ended with code $?"
}
compare() {
  local count
  count=$(losses "$work/$1" | wc -l)
  [ "$count" = 4 ] || fail "$1: $count step records in metrics.jsonl, expected 4"
  diff <(losses "$work/reference") <(losses "$work/$1") ||
    fail "$1: losses differ from those of one process"
  [ -s "$work/$1/checkpoints/latest" ] || fail "$1: no checkpoint"
  echo "passed: $1, the bits of one process"
}

case $case_name in
  single)
    reference
    id=$(submit srun4 single_node.sbatch train.max_steps=4) || exit 1
    finish_job "$id"
    compare srun4
    id=$(submit refused single_node.sbatch train.max_stepz=4) || exit 1
    wait_job "$id" && fail "a deck with an unknown key was accepted"
    grep -q max_stepz "$work/refused.log" || fail "the log does not name the unknown key"
    [ ! -e "$work/refused" ] || fail "a refused deck left an output folder"
    ;;
  multi)
    reference
    id=$(submit srun8 multi_node.sbatch train.max_steps=4) || exit 1
    finish_job "$id"
    compare srun8
    id=$(LAUNCH=mpirun submit mpirun8 multi_node.sbatch train.max_steps=4) || exit 1
    finish_job "$id"
    compare mpirun8
    ;;
  translate)
    reference
    translate=$(dirname "$app")/th_translate
    for _ in $(seq 16); do cat "$work/train.en"; done >"$work/in.en"
    words=("$work/reference" "$work/in.en" "$work/translated" --beam 4 --max-length 12)
    env -u SLURM_CONF "$translate" "${words[0]}" --input "${words[1]}" --threads 1 \
      "${words[@]:3}" >"$work/expected" || fail "one process ended with code $?"
    id=$(TH_TRANSLATE=$translate sbatch --parsable --chdir="$source_dir" --time=10 \
      --output="$work/translate.log" "$source_dir/jobs/translate.sbatch" "${words[@]}") || exit 1
    for _ in $(seq 600); do
      if [ "$(wc -l 2>/dev/null <"$work/translated.journal")" -ge 2 ] 2>/dev/null; then break; fi
      sleep 0.1
    done
    scancel -b -s USR1 "$id" || fail "USR1 could not be sent"
    finish_job "$id"
    grep -q "start 2" "$work/translate.log" || fail "the job was not started again"
    grep -q "goes on behind line" "$work/translate.log" || fail "it began anew"
    cmp "$work/expected" "$work/translated" || fail "other lines than those of one process"
    [ ! -e "$work/translated.journal" ] || fail "a complete output has a journal"
    ;;
  requeue)
    id=$(submit stopped multi_node.sbatch train.max_steps=250 train.valid_every_steps=100 \
      checkpoint.every_epochs=0 checkpoint.every_steps=100) || exit 1
    for _ in $(seq 300); do
      if [ "$(losses "$work/stopped" 2>/dev/null | wc -l)" -ge 3 ]; then break; fi
      sleep 0.1
    done
    scancel -b -s USR1 "$id" || fail "USR1 could not be sent"
    wait_job "$id" 300 || fail "job $id did not end with code 0"
    grep -q 'th_app ended with code 75' "$work/stopped.log" ||
      fail "the first start did not end with code 75"
    grep -q 'start 2:' "$work/stopped.log" || fail "the job was not started a second time"
    diff <(seq 250) <(losses "$work/stopped" | grep -oE '"step":[0-9]+' | cut -d: -f2) ||
      fail "the steps are not 1 to 250, each once"
    echo "passed: stopped, requeued, every step once"
    ;;
  *) fail "unknown case $case_name" ;;
esac
exit 0
