#!/usr/bin/env bash
# tools/test.sh [--long] [CTEST OPTION…]: installs what is missing, builds, and runs every test with ctest; the exit code is ctest's.
#   --long   also the tests labelled long (hours); without it they are left out
set -euo pipefail
case ${1:-} in -h|--help) sed -n '2,3p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
selection=(-LE '^long$')
if [ "${1:-}" = --long ]; then selection=(); shift; fi
bash tools/install_dependencies.sh --with-slurm --with-test-python --with-valgrind --with-patchelf
bash tools/build.sh
# shellcheck source=tools/run_env.sh
. tools/run_env.sh
if [ -x .deps/venv/bin/python ]; then export TH_PYTHON=${TH_PYTHON:-$root/.deps/venv/bin/python}; fi
# One test at a time: those of MPI start up to eight ranks, and timings on shared cores would say nothing.
ctest --test-dir build --output-on-failure --no-tests=error -j 1 "${selection[@]}" "$@"
