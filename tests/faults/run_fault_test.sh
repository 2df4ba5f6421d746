#!/usr/bin/env bash
# run_fault_test.sh CASE SOURCE_DIR TH_APP MPIRUN: one bad input. Checks the exit code, that exactly
# one message names the cause (2 ranks run, one speaks), that it ends within 60 s, and that nothing
# half-written is left.
set -uo pipefail
case_name=$1 source_dir=$2 app=$3 mpirun=$4
work=$(mktemp -d "${TMPDIR:-/tmp}/th-fault-test.XXXXXX")
finish() {
  local rc=$?
  if [ "$rc" != 0 ]; then echo "--- output of the last run:"; cat "$work/log" 2>/dev/null; fi
  chmod -R u+w "$work" 2>/dev/null
  rm -rf "$work"
  exit "$rc"
}
trap finish EXIT
fail() { echo "FAILED: $*"; exit 1; }
# shellcheck source=tools/run_env.sh
. "$source_dir/tools/run_env.sh"

# A sound run of a tiny model; each case spoils one thing.
out=$work/out ranks=2
for language in en fr; do
  head -n 64 "$source_dir/inputs/data/numbers.train.$language" >"$work/train.$language"
  head -n 8 "$source_dir/inputs/data/numbers.valid.$language" >"$work/valid.$language"
done
cat >"$work/tiny.in" <<DECK
[run]
output_dir = $out
[model]
d_model = 16
num_heads = 2
num_encoder_layers = 1
num_decoder_layers = 1
d_ff = 32
[data]
train_source = train.en
train_target = train.fr
valid_source = valid.en
valid_target = valid.fr
batch_size = 4
[train]
micro_batches = 2
max_steps = 2
DECK

# run CODE OVERRIDE…: runs the deck with $ranks ranks; fails unless the exit code is CODE.
run() {
  local expected=$1 rc; shift
  timeout -k 5 60 "$mpirun" -np "$ranks" "$app" "$work/tiny.in" "$@" >"$work/log" 2>&1
  rc=$?
  [ $rc != 124 ] && [ $rc != 137 ] || fail "no end within 60 s"
  [ $rc = "$expected" ] || fail "exit code $rc, expected $expected"
}
# said PATTERN…: exactly one line of the output has all patterns (extended regular expressions).
said() {
  local lines pattern
  lines=$(cat "$work/log")
  for pattern in "$@"; do lines=$(grep -E -- "$pattern" <<<"$lines"); done
  [ -n "$lines" ] || fail "no line of the output has: $*"
  [ "$(wc -l <<<"$lines")" = 1 ] || fail "$(wc -l <<<"$lines") lines in place of one have: $*"
  local crash="terminate called|Segmentation fault|core dumped|Traceback|MPI_ABORT was invoked"
  grep -qE "$crash" "$work/log" && fail "the output holds a crash"
  echo "passed: $lines"
}
# nothing_written: no output folder, or one without metrics and checkpoints.
nothing_written() {
  [ ! -e "$out/metrics.jsonl" ] && [ ! -e "$out/checkpoints" ] ||
    fail "a refused run left $(ls "$out")"
}
# no_folder: the run was refused before anything was made.
no_folder() { [ ! -e "$out" ] || fail "a refused deck left $out"; }

# nothing_in_memory: no folder below /dev/shm that a process of this test left (th_app.PID.SEED of a
# PID that is gone).
nothing_in_memory() {
  local folder pid
  for folder in /dev/shm/th_app.*; do
    [ "$folder" -nt "$work/train.en" ] || continue
    pid=${folder#/dev/shm/th_app.}
    pid=${pid%%.*}
    # alive: there, and no zombie
    grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$pid/status" || fail "$folder is left"
  done
}

# Two launchers' processes that do not know of each other: the launcher's variables say two, MPI
# sees one in each.
launch_alone() {
  local rc0 rc1 alone=(timeout -k 5 60 "$app" "$work/tiny.in")
  OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 "${alone[@]}" >"$work/log.1" 2>&1 &
  OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0 "${alone[@]}" >"$work/log.0" 2>&1
  rc0=$?
  wait $!
  rc1=$?
  cat "$work/log.0" "$work/log.1" >"$work/log"
  [ $rc0 = 7 ] && [ $rc1 = 7 ] || fail "exit codes $rc0 and $rc1, expected 7 and 7"
  said 'OMPI_COMM_WORLD_SIZE=2'; no_folder
}

# resume_other_model: the run that it would go on from stays as it was.
resume_other_model() {
  local before
  run 0
  before=$(cd "$out" && find . -type f -exec cksum {} + | sort)
  run 2 checkpoint.resume=latest model.d_ff=64; said 'model.d_ff' '\b32\b' '\b64\b'
  [ "$before" = "$(cd "$out" && find . -type f -exec cksum {} + | sort)" ] ||
    fail "a refused resume changed the run's files"
}

# flight_record RANK: it tells what the rank did last.
flight_record() {
  local what pattern record=$out/flight_record.0000$1.jsonl
  local rest='"begin_ns":[0-9]+,"end_ns":[0-9]+\}$'
  [ -s "$record" ] || fail "rank $1 left no record"
  for what in forward backward gather reduce update; do
    pattern='^\{"what":"'$what'","unit":"[a-z_.0-9]+","on":"(compute|communication)",'
    grep -qE "$pattern$rest" "$record" || fail "no $what in $record: $(tail -n 3 "$record")"
  done
}

# running KEYS…: starts three ranks of an endless run in the background, waits for a few steps, and
# sets launcher and victim, the rank that was started last. The run neither validates nor saves, so
# that it is in the phase training whenever it is struck.
running() {
  ranks=3
  "$mpirun" -np $ranks "$app" "$work/tiny.in" train.micro_batches=3 train.max_steps=0 \
    train.epochs=1000000 checkpoint.every_epochs=0 data.valid_source= data.valid_target= \
    zero.stage=3 "$@" >"$work/log" 2>&1 &
  launcher=$!
  for _ in $(seq 300); do
    [ "$(cat "$out/metrics.jsonl" 2>/dev/null | wc -l)" -gt 3 ] && break
    sleep 0.1
  done
  victim=$(pgrep -P $launcher | tail -1)
}

# killed_rank: the others name it, with what it did, before the launcher ends them.
killed_rank() {
  local launcher victim rc
  running
  kill -KILL "$victim"
  wait $launcher
  rc=$?
  [ $rc = 137 ] || fail "exit code $rc, expected 137"
  said 'a rank has ended without a word'
  said "rank [0-9]+ host .* pid $victim phase training step [0-9]+, .*compute: .*process is gone"
  [ "$(grep -c 'ended without a word' "$work/log")" = 1 ] || fail "told more than once"
  grep -q "pid $victim phase training" "$out/run.log" || fail "run.log does not tell of it"
}

# hung_rank on|off: one rank is stopped in mid-training with and without overlap; the others name
# it, leave what they did last and end with 7.
hung_rank() {
  local launcher victim guard rc rank missing
  running comm.timeout_seconds=3 comm.overlap="$1"
  kill -STOP "$victim"
  ( sleep 50; kill -KILL $launcher "$victim" ) >/dev/null 2>&1 &
  guard=$!
  wait $launcher
  rc=$?
  kill $guard 2>/dev/null
  [ $rc = 7 ] || fail "exit code $rc, expected 7"
  said "rank [0-9]+ host .* pid $victim phase training step [0-9]+, .* state T \(stopped\)"
  said 'hang: rank'
  said 'flight_record\.\*\.jsonl'
  missing=$(sed -nE "s/^rank ([0-9]+) host .* pid $victim phase .*/\1/p" "$work/log")
  # The launcher wakes the missing one up to end it, and it may or may not come to write.
  for rank in 0 1 2; do
    [ $rank = "$missing" ] && continue
    flight_record $rank
    grep -q '(main)' "$out/stacks.0000$rank.txt" || fail "rank $rank left no stacks"
  done
}

case $case_name in
  killed_rank) killed_rank ;;
  other_build)
    TH_FAIL_BUILD=1 run 7; said 'broken launch: rank 1 on' 'planted' 'rank 0 on'; no_folder ;;
  order_checked) run 0 comm.check_order=true ;;
  unknown_key)
    sed -i 's/^max_steps/max_stepz/' "$work/tiny.in"
    run 2; said 'tiny.in:17: train.max_stepz' 'nearest train.max_steps'; no_folder ;;
  contradictory_keys)
    run 2 model.num_heads=3; said 'num_heads' 'd_model'; no_folder ;;
  several_problems)  # one report, a line each
    run 2 model.d_ff=-1 train.max_stepz=3 precision.dtype=fp31
    said 'model.d_ff'; said 'max_stepz'; said 'precision.dtype' 'allowed'; no_folder ;;
  missing_file)
    run 3 "data.train_source=$work/absent.en"; said 'absent.en'; nothing_written ;;
  invalid_utf8)
    sed -i '7s/.*/caf\xe9 noir/' "$work/train.fr"
    run 3; said 'train.fr:7' 'UTF-8'; nothing_written ;;
  empty_line)
    sed -i '5s/.*//' "$work/train.en"
    run 3; said 'train.en:5' 'empty'; nothing_written ;;
  empty_lines_skipped)
    sed -i '5s/.*//' "$work/train.en"
    run 0 data.empty_lines=skip; said '[Ss]kipped|skipping' '\b1\b' ;;
  unequal_line_counts)
    sed -i '$d' "$work/train.fr"
    run 3; said '\b64\b' '\b63\b'; nothing_written ;;
  corpus_too_small)
    head -n 5 "$work/train.en" >"$work/few.en"; head -n 5 "$work/train.fr" >"$work/few.fr"
    run 3 "data.train_source=$work/few.en" "data.train_target=$work/few.fr"
    said '\b5\b' '\b8\b'; nothing_written ;;
  more_ranks_than_slots)
    ranks=3
    run 2; said '\b3\b' '\b2\b' 'micro_batches'; nothing_written ;;
  unwritable_output)  # a file where the folder should be: refused for root too
    echo "a file" >"$work/file"
    run 2 "run.output_dir=$work/file/out"; said "$work/file" "can.t|cannot"
    [ "$(cat "$work/file")" = "a file" ] || fail "the file in the way was changed" ;;
  resume_missing)
    run 5 "checkpoint.resume=$work/absent"; said "$work/absent"; nothing_written ;;
  resume_other_model) resume_other_model ;;
  launch_alone) launch_alone ;;
  narrow_binding)  # one CPU for a thread and a worker: works, with a warning that names the option
    cpu=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
    mpirun_path=$mpirun
    mpirun=$work/bound_mpirun
    printf '#!/bin/sh\nexec taskset -c %s "%s" "$@"\n' "$cpu" "$mpirun_path" >"$mpirun"
    chmod +x "$mpirun"
    run 0 run.threads=1 data.num_workers=1; said 'bind-to none' ;;
  hung_rank) hung_rank off ;;
  hung_rank_overlap) hung_rank on ;;
  no_deck)
    timeout -k 5 60 "$mpirun" -np 2 "$app" "$work/absent.in" >"$work/log" 2>&1
    rc=$?
    [ $rc = 2 ] || fail "exit code $rc, expected 2"
    said 'absent.in' ;;
  *) fail "unknown case $case_name" ;;
esac
nothing_in_memory
exit 0
