#!/usr/bin/env bash
# tools/quickstart.sh: installs what is missing, builds the programs, trains the shipped translator
# with 8 ranks (ZeRO stage 2), and shows what it learned.
# Takes about four minutes on a new machine with 2 cores, one when all is there. It takes no
# question and may be called again; an earlier run's folder is kept as runs/stage2.1, .2, …
#   TH_RANKS=N   ranks (default 8; the numbers are the same bits for every N up to 8)
set -euo pipefail
case ${1:-} in
  '') ;;
  -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) echo "quickstart: error: it takes no argument, not '$1'" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
ranks=${TH_RANKS:-8}

fail() { printf 'quickstart: error: %s\n' "$2" >&2; exit "$1"; }

# deck_path KEY: the path of KEY in the deck that the run resolved (absolute there).
deck_path() {
  awk -v key="$1" '
    /^\[/ {section = substr($1, 2, length($1) - 2)}
    $2 == "=" && section "." $1 == key {print $3; exit}' runs/stage2/resolved.in
}

show_held_out_lines() {
  local source_file target_file file
  source_file=$(deck_path data.test_source)
  target_file=$(deck_path data.test_target)
  for file in runs/stage2/test.hyp "$source_file" "$target_file"; do
    [ -s "$file" ] || fail 1 "'$file' is missing: the run's translations or the deck's test set"
  done
  echo
  echo "Held-out lines, never seen in training (source, translation, reference):"
  paste "$source_file" runs/stage2/test.hyp "$target_file" | awk -F '\t' '
    {
      total++
      same = ($2 == $3)
      exact += same
      line[total] = sprintf("  %s\n    %s %s\n    reference: %s", $1, same ? "=" : "!", $2, $3)
    }
    END {
      step = total > 6 ? int(total / 6) : 1
      for (i = 1; i <= total && shown < 6; i += step) {print line[i]; shown++}
      printf "\n%d of %d held-out lines translated exactly (%.1f %%)\n",
        exact, total, total ? 100 * exact / total : 0
    }'
}

SECONDS=0
bash tools/install_dependencies.sh
installed=$SECONDS
bash tools/build.sh
built=$SECONDS
# shellcheck source=tools/run_env.sh
. tools/run_env.sh
echo "quickstart: mpirun -np $ranks build/bin/th_app inputs/stage2.in"
mpirun -np "$ranks" build/bin/th_app inputs/stage2.in || {
  code=$?
  fail "$code" "th_app ended with code $code (docs/running.md lists the codes)"
}
show_held_out_lines
echo "Seconds: $installed to install, $((built - installed)) to build, $((SECONDS - built)) to run"
echo "Next: any TensorBoard with --logdir runs/stage2/tensorboard;" \
  "build/bin/th_inspect ls runs/stage2/checkpoints/$(cat runs/stage2/checkpoints/latest);" \
  "docs/quickstart.md"
