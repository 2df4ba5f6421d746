#!/usr/bin/env bash
# run_reframe_test.sh SOURCE_DIR BUILD_DIR: tests/reframe/th_app.py, run by ReFrame in a throw-away
# Slurm of two virtual nodes, with the programs of `cmake --install`.
# Exit 0 passed, 1 failed, 77 no ReFrame or no Slurm here.
#   TH_SLURM_SANDBOX   the sandbox script (default ../shared/slurm/slurm_sandbox.sh)
#   TH_REFRAME         the program (default .deps/reframe/bin/reframe, else that of PATH)
set -uo pipefail
source_dir=$1 build_dir=$2
reframe=${TH_REFRAME:-$source_dir/.deps/reframe/bin/reframe}
[ -x "$reframe" ] || reframe=$(command -v reframe) || {
  echo "skipped: ReFrame is not here (tools/install_dependencies.sh --with-reframe)"
  exit 77
}
# shellcheck source=tests/slurm/sandbox.sh
. "$source_dir/tests/slurm/sandbox.sh" th-reframe-test
export TH_REFRAME_DIR=$work/reframe
# ReFrame keeps reports in the user's folder, and logs in /tmp.
export RFM_REPORT_FILE=$work/report.json RFM_SAVE_LOG_FILES=0
finish() {
  local rc=$?
  bash "$sandbox" clean >/dev/null 2>&1
  if [ "$rc" = 0 ]; then rm -rf "$work"; else echo "kept for a look: $work"; fi
  exit "$rc"
}
trap finish EXIT
fail() { echo "FAILED: $*"; exit 1; }
cmake --install "$build_dir" --prefix "$work/prefix" >"$work/install.log" 2>&1 ||
  fail "cmake --install: $(tail -n 5 "$work/install.log")"
bash "$sandbox" start || fail "the sandbox did not start"
eval "$(bash "$sandbox" env)"
# shellcheck source=tools/run_env.sh
. "$source_dir/tools/run_env.sh"

# run OPTION…: ReFrame in a folder of its own, where it keeps its logs.
run() {
  (cd "$work" && TMPDIR=$work "$reframe" --nocolor -C "$source_dir/tests/reframe/sandbox_site.py" \
    -c "$source_dir/tests/reframe/th_app.py" -S "bin=$work/prefix/bin" \
    -S "share=$work/prefix/share/th_app" --performance-report -r "$@")
}
run | tee "$work/passed.log" || fail "the test of the installed program"
grep -q 'PASSED.*Ran 1/1' "$work/passed.log" || fail "it ran no test"
grep -qE 'rate.*tokens/s|tokens/s' "$work/passed.log" || fail "no rate is reported"
# A program that is not there makes ReFrame's test fail: it does not pass whatever happens.
if run -S "bin=$work/none" >"$work/failed.log" 2>&1; then
  fail "ReFrame's test passes without a program"
fi
grep -q 'FAILED.*Ran 1/1' "$work/failed.log" || fail "the second run: $(cat "$work/failed.log")"
echo "passed: ReFrame's test of the installed program on two nodes"
