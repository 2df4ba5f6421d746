#!/usr/bin/env bash
# run_mpich.sh SOURCE_DIR: builds everything with Debian's MPICH into build-mpich and runs the tests
# labelled mpi with its mpiexec, by the workflow `mpich` of CMakePresets.json.
# Exit 77: no MPICH here.
set -euo pipefail
for tool in mpicxx.mpich mpiexec.mpich; do
  command -v "$tool" >/dev/null || {
    echo "skipped: $tool is not here (tools/install_dependencies.sh --with-mpich)"
    exit 77
  }
done
cd "$1"
exec cmake --workflow --preset mpich
