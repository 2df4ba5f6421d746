#!/usr/bin/env bash
# tools/quickstart.sh: installs what is missing, builds, trains the shipped translator with 8 ranks (ZeRO stage 2), and shows what it learned.
# Takes no question and may be called again; an earlier run's folder is kept as runs/stage2.1, .2, …
#   TH_RANKS=N   ranks (default 8; the numbers are the same bits for every N up to 8)
set -euo pipefail
case ${1:-} in -h|--help) sed -n '2,4p' "${BASH_SOURCE[0]}"; exit 0 ;; '') ;; *) echo "quickstart: error: it takes no argument, not '$1'" >&2; exit 2 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
ranks=${TH_RANKS:-8}
bash tools/install_dependencies.sh
bash tools/build.sh
# shellcheck source=tools/run_env.sh
. tools/run_env.sh

# deck_path KEY: the path of KEY in the deck that the run resolved (absolute there).
deck_path() { awk -v key="$1" '/^\[/ {section = substr($1, 2, length($1) - 2)} $2 == "=" && section "." $1 == key {print $3; exit}' runs/stage2/resolved.in; }

echo "quickstart: mpirun -np $ranks build/bin/th_app inputs/stage2.in"
mpirun -np "$ranks" build/bin/th_app inputs/stage2.in || { rc=$?; echo "quickstart: error: th_app ended with code $rc (README.md lists the codes)" >&2; exit $rc; }

source_file=$(deck_path data.test_source)
target_file=$(deck_path data.test_target)
for file in runs/stage2/test.hyp "$source_file" "$target_file"; do
  [ -s "$file" ] || { echo "quickstart: error: '$file' is missing: the run's translations or the deck's test set" >&2; exit 1; }
done
echo
echo "Held-out lines, never seen in training (source, translation, reference):"
paste "$source_file" runs/stage2/test.hyp "$target_file" | awk -F '\t' '
  {total++; same = ($2 == $3); exact += same; line[total] = sprintf("  %s\n    %s %s\n    reference: %s", $1, same ? "=" : "!", $2, $3)}
  END {
    step = total > 6 ? int(total / 6) : 1
    for (i = 1; i <= total && shown < 6; i += step) {print line[i]; shown++}
    printf "\n%d of %d held-out lines translated exactly (%.1f %%)\n", exact, total, total ? 100 * exact / total : 0
  }'
echo "Next: tensorboard --logdir runs/stage2/tensorboard; build/bin/th_inspect ls runs/stage2/checkpoints/$(cat runs/stage2/checkpoints/latest); README.md"
