#!/usr/bin/env bash
# tools/install_dependencies.sh [OPTION…]: installs what the programs need and what is missing,
# Debian's packages with apt, LibTorch and oneDNN from PyPI wheels into .deps/. Takes about a
# minute; a second call finds everything there and ends at once. Tests that need what an option
# installs are left out or skip without it:
#   --with-tests        GoogleTest, Google Benchmark, HDF5's tools, clang-format 14, iproute2,
#                       help2man
#   --with-slurm        slurmctld, slurmd, slurm-client, munge (the tests of jobs/)
#   --with-test-python  .deps/venv with numpy, h5py, tensorboard, safetensors
#   --with-valgrind     valgrind (the instruction counts of the kernels)
#   --with-patchelf     patchelf (the package for machines with a GPU)
#   --with-gnuplot      gnuplot-nox, with which th_report draws
#   --with-deb          lintian, debootstrap (the test of the Debian package)
#   --with-mpich        mpich, libmpich-dev (the preset mpich); Open MPI stays the default
#   --with-reframe      ReFrame in .deps/reframe (the test for a site's nodes)
#   --with-ccache       ccache, for who compiles several trees; a tree that was built without it
#                       is compiled anew
#   TH_LIBTORCH=/path   use the LibTorch there (with include/ and lib/); nothing is fetched
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=$root/.deps
torch_version=2.11.0
cpython=3.11  # the wheel's Python; LibTorch itself does not depend on it

say() { printf 'install: %s\n' "$*"; }
fail() { printf 'install: error: %s\n' "$*" >&2; exit 1; }

options=(tests slurm test-python valgrind patchelf gnuplot deb mpich reframe ccache)
declare -A with
for argument in "$@"; do
  case $argument in
    -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
  esac
  known=${argument#--with-}
  [[ $argument == --with-* && " ${options[*]} " == *" $known "* ]] ||
    fail "unknown option '$argument'; allowed: ${options[*]/#/--with-}"
  with[$known]=1
done

wheel_packages=(ca-certificates python3 python3-venv)
packages=(g++ cmake ninja-build libopenmpi-dev openmpi-bin libhdf5-dev
  libboost-program-options-dev libspdlog-dev nlohmann-json3-dev libsentencepiece-dev
  zlib1g-dev)
test_packages=(libgtest-dev libbenchmark-dev hdf5-tools git procps)
slurm_packages=(slurmctld slurmd slurm-client munge)

# missing_packages NAME…: those that dpkg does not list as installed, one a line.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f='${db:Status-Abbrev} ${binary:Package}\n' "$@" 2>/dev/null |
    awk '$1 == "ii" {sub(/:.*/, "", $2); print $2}' || true)
  printf '%s\n' "$@" | grep -vxF -f <(printf '%s\n' "$installed" '-none-') || true
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo -n env "$@" || return 1
  else return 1
  fi
}

updated=0
# apt_install NAME…: 0 when all are installed afterwards.
apt_install() {
  local log=$deps/apt.log
  mkdir -p "$deps"
  if [ $updated = 0 ]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update >"$log" 2>&1 ||
      say "apt-get update failed (see $log); trying with the lists that are there"
    updated=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1
}

# require_packages WHAT NAME…
require_packages() {
  local what=$1 missing
  shift
  mapfile -t missing < <(missing_packages "$@")
  if [ ${#missing[@]} = 0 ]; then
    say "$what: all $# there"
    return
  fi
  say "$what: installing ${missing[*]}"
  apt_install "${missing[@]}" ||
    fail "apt-get could not install: ${missing[*]} (root or sudo is needed; log: $deps/apt.log)"
}

# install_optional WHAT LEFT_OUT NAME…: packages that some tests need; without them those skip.
install_optional() {
  local what=$1 left_out=$2 missing
  shift 2
  mapfile -t missing < <(missing_packages "$@")
  if [ ${#missing[@]} = 0 ]; then
    say "$what: there"
    return
  fi
  say "$what: installing ${missing[*]}"
  apt_install "${missing[@]}" ||
    say "warning: could not install ${missing[*]} (log: $deps/apt.log); $left_out will skip"
}

ensure_venv() {
  if [ ! -x "$deps/venv/bin/pip" ]; then
    rm -rf "$deps/venv"
    python3 -m venv "$deps/venv" || return 1
  fi
}
# pip COMMAND OPTION…: quietly
pip() {
  local command=$1
  shift
  "$deps/venv/bin/pip" "$command" --disable-pip-version-check --progress-bar off --quiet "$@"
}

install_libtorch() {
  if [ -n "${TH_LIBTORCH:-}" ]; then
    [ -e "$TH_LIBTORCH/lib/libtorch_cpu.so" ] ||
      fail "TH_LIBTORCH=$TH_LIBTORCH holds no lib/libtorch_cpu.so"
    say "LibTorch: $TH_LIBTORCH (from TH_LIBTORCH)"
    return
  fi
  local place=$deps/libtorch partial=$deps/libtorch.partial python_version
  if [ -e "$place/torch/lib/libtorch_cpu.so" ]; then
    say "LibTorch: $place there"
    return
  fi
  say "LibTorch $torch_version: fetching the wheel from PyPI into $place (1.2 GB installed)"
  ensure_venv || fail "python3 -m venv $deps/venv failed"
  rm -rf "$partial" "$place"
  local options=(--no-deps --no-compile --target "$partial")
  python_version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [ "$python_version" = "$cpython" ] ||
    options+=(--python-version "$cpython" --implementation cp --only-binary=:all:)
  pip install "${options[@]}" "torch==$torch_version" \
    'nvidia-cuda-runtime==13.*' 'nvidia-cuda-cupti==13.*' ||
    fail "LibTorch could not be fetched from PyPI (pip's lines are above); set TH_LIBTORCH=/path" \
      "to one that is there, or check the network"
  [ -e "$partial/torch/lib/libtorch_cpu.so" ] ||
    fail "the torch wheel holds no torch/lib/libtorch_cpu.so"
  printf 'torch==%s\n' "$torch_version" >"$partial/.th_stamp"
  mv "$partial" "$place"
  say "LibTorch $torch_version: done"
}

# unpack_onednn FOLDER: the library and its licence out of the wheel that lies there.
unpack_onednn() {
  python3 - "$1" <<'PYTHON'
import glob, pathlib, shutil, sys, zipfile
folder = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(glob.glob(str(folder / "*.whl"))[0])
name = next(n for n in wheel.namelist() if n.endswith("/libdnnl.so.3"))
with wheel.open(name) as source, open(folder / "lib" / "libdnnl.so.3", "wb") as target:
    shutil.copyfileobj(source, target)
for n in wheel.namelist():
    if n.endswith(("LICENSE.txt", "THIRD-PARTY-PROGRAMS")):
        (folder / pathlib.Path(n).name).write_bytes(wheel.read(n))
PYTHON
}

# oneDNN with its interface (LibTorch hides the one it holds); without it LibTorch's serves, slower.
install_onednn() {
  local place=$deps/onednn version=2023.2.0 partial=$deps/onednn.partial
  if [ -e "$place/lib/libdnnl.so.3" ]; then
    say "oneDNN: $place there"
    return
  fi
  if [ "$(uname -m)" != x86_64 ]; then
    say "oneDNN: none for $(uname -m) on PyPI; LibTorch's copy serves"
    return
  fi
  say "oneDNN: fetching the wheel onednn-cpu-gomp $version from PyPI into $place (55 MB installed)"
  rm -rf "$partial" "$place"
  mkdir -p "$partial/lib"
  if ensure_venv &&
    pip download --no-deps --only-binary=:all: --dest "$partial" "onednn-cpu-gomp==$version" &&
    unpack_onednn "$partial"
  then
    rm -f "$partial"/*.whl
    mv "$partial" "$place"
  else
    rm -rf "$partial"
    say "warning: oneDNN could not be fetched; LibTorch's copy serves, slower"
  fi
}

install_test_python() {
  local wanted=(numpy h5py tensorboard safetensors) stamp=$deps/venv/.th_test_python
  if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "${wanted[*]}" ]; then
    say "Python packages of the tests: there"
    return
  fi
  say "Python packages of the tests: installing ${wanted[*]} into $deps/venv"
  if ensure_venv && pip install "${wanted[@]}"; then
    printf '%s\n' "${wanted[*]}" >"$stamp"
  else
    say "warning: ${wanted[*]} could not be installed; the tests that need them will skip"
  fi
}

install_reframe() {
  local version=4.10.4 place=$deps/reframe
  if [ -x "$place/bin/reframe" ]; then
    say "ReFrame: $place there"
    return
  fi
  say "ReFrame $version: installing reframe-hpc into $place"
  python3 -m venv "$place" && "$place/bin/pip" install --disable-pip-version-check \
    --progress-bar off --quiet "reframe-hpc==$version" || {
    rm -rf "$place"
    say "warning: reframe-hpc could not be installed; the test reframe.two_nodes will skip"
  }
}

install_test_packages() {
  [ -z "${with[tests]:-}" ] || {
    require_packages "packages of the tests" "${test_packages[@]}"
    install_optional "clang-format" "the test of the format" clang-format-14
    install_optional "iproute2" "the tests over several hosts" iproute2
    install_optional "help2man" "manual pages, in installations and their test," help2man
  }
  [ -z "${with[slurm]:-}" ] ||
    install_optional "Slurm packages" "the tests of jobs/" "${slurm_packages[@]}"
  [ -z "${with[valgrind]:-}" ] ||
    install_optional "valgrind" "the instruction counts of the kernels" valgrind
  [ -z "${with[patchelf]:-}" ] ||
    install_optional "patchelf" "the test of the GPU package" patchelf
  [ -z "${with[gnuplot]:-}" ] ||
    install_optional "gnuplot" "the tests of th_report" gnuplot-nox
  [ -z "${with[deb]:-}" ] ||
    install_optional "lintian, debootstrap" "the test of the Debian package" dpkg-dev lintian \
      debootstrap git
  [ -z "${with[mpich]:-}" ] ||
    install_optional "MPICH" "the tests with MPICH" mpich libmpich-dev
  [ -z "${with[ccache]:-}" ] || install_optional "ccache" "nothing" ccache
}

command -v dpkg-query >/dev/null ||
  fail "this is no Debian or Ubuntu; install the packages named in docs/running.md and use" \
    "'cmake --preset release'"
mkdir -p "$deps"
exec 9>"$deps/.lock"
flock 9  # a second call beside this one waits
# The wheels are fetched while apt installs the compiler.
require_packages "Python" "${wheel_packages[@]}"
(install_libtorch && install_onednn) 9>&- &
wheels=$!
trap 'kill $wheels 2>/dev/null || true' EXIT
require_packages "Debian packages" "${packages[@]}"
install_test_packages
wait $wheels
trap - EXIT
[ -z "${with[test-python]:-}" ] || install_test_python
[ -z "${with[reframe]:-}" ] || install_reframe
