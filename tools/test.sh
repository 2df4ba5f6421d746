#!/usr/bin/env bash
# tools/test.sh [--long] [CTEST OPTION…]: installs what is missing, builds everything, and runs
# every test with ctest; the exit code is ctest's.
#   --long           also the tests labelled long (hours); without it they are left out
#   TH_TEST_JOBS=N   cores that tests share (default 2, or 1 where there is no more): a test that
#                    measures, or keeps two cores busy, runs by itself
# Takes about 45 minutes on 2 cores.
set -euo pipefail
case ${1:-} in
  -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
selection=(-LE '^long$')
if [ "${1:-}" = --long ]; then selection=(); shift; fi
bash tools/install_dependencies.sh \
  --with-tests --with-slurm --with-test-python --with-valgrind --with-patchelf
bash tools/build.sh all
# shellcheck source=tools/run_env.sh
. tools/run_env.sh
if [ -x .deps/venv/bin/python ]; then
  export TH_PYTHON=${TH_PYTHON:-$root/.deps/venv/bin/python}
fi
jobs=${TH_TEST_JOBS:-2}
if [ -z "${TH_TEST_JOBS:-}" ] && [ "$(nproc)" -lt 2 ]; then jobs=1; fi
ctest --test-dir build --output-on-failure --no-tests=error -j "$jobs" "${selection[@]}" "$@"
