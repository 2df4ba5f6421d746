#!/usr/bin/env bash
# tools/test.sh [--long] [CTEST OPTION…]: installs what is missing, builds everything, and runs
# every test with ctest; the exit code is ctest's.
#   --long           also the tests labelled long (hours); without it they are left out
#   TH_TEST_JOBS=N   tests at a time, of which one that keeps two cores busy counts as two (default
#                    3, because tests wait a quarter of their time, or 1 on one core); a test that
#                    measures runs by itself
# Takes 25 (a Xeon with AVX-512) to 40 minutes (an AMD EPYC of Zen 3) on 2 cores.
set -euo pipefail
fail() { echo "test.sh: error: $*" >&2; exit 2; }
selection=(-LE '^long$')
options=()
long=()
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --long) selection=() long=(--with-deb --with-mpich --with-reframe) ;;
    # ctest itself takes words that it does not know in silence.
    -R|-E|-L|-LE|-FA|-FS|-FC|-I|-j|-O|--repeat|--timeout|--output-junit|--test-output-size-failed)
      [ $# -gt 1 ] || fail "$1 wants a value (ctest --help)"
      options+=("$1" "$2")
      shift ;;
    -V|-VV|-N|-Q|--progress|--rerun-failed|--stop-on-failure|--schedule-random)
      options+=("$1") ;;
    *) fail "unknown word '$1'; allowed: --long and options of ctest, such as -R REGEX" ;;
  esac
  shift
done
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash tools/install_dependencies.sh \
  --with-tests --with-slurm --with-test-python --with-valgrind --with-patchelf --with-gnuplot \
  "${long[@]}"
bash tools/build.sh all
# shellcheck source=tools/run_env.sh
. tools/run_env.sh
if [ -x .deps/venv/bin/python ]; then
  export TH_PYTHON=${TH_PYTHON:-$root/.deps/venv/bin/python}
fi
# run_env.sh sets OMP_NUM_THREADS for the programs, and nproc answers with that where it is set.
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
jobs=${TH_TEST_JOBS:-$((cores < 2 ? 1 : 3))}
echo "test.sh: $jobs tests at a time on $cores cores"
ctest --test-dir build --output-on-failure --no-tests=error -j "$jobs" "${selection[@]}" \
  "${options[@]}"
