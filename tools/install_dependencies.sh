#!/usr/bin/env bash
# tools/install_dependencies.sh [--with-slurm] [--with-test-python] [--with-valgrind] [--with-patchelf]
# Installs what th_app needs and what is missing: Debian's packages with apt, LibTorch from the PyPI wheel into .deps/libtorch.
#   --with-slurm        also slurmctld, slurmd, slurm-client, munge (the tests of jobs/ skip without them)
#   --with-test-python  also .deps/venv with numpy, h5py, tensorboard, safetensors (tests that need them skip without)
#   --with-valgrind     also valgrind (the instruction counts of the kernels skip without it)
#   --with-patchelf     also patchelf (the package for machines with a GPU, and its test, skip without)
#   TH_LIBTORCH=/path   use the LibTorch there (with include/ and lib/); nothing is fetched
# A second call finds everything there and ends at once.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=$root/.deps
torch_version=2.11.0
cpython=3.11  # the wheel's Python; LibTorch itself does not depend on it

say() { printf 'install: %s\n' "$*"; }
fail() { printf 'install: error: %s\n' "$*" >&2; exit 1; }

with_slurm=0 with_test_python=0 with_valgrind=0 with_patchelf=0
for argument in "$@"; do
  case $argument in
    --with-slurm) with_slurm=1 ;;
    --with-test-python) with_test_python=1 ;;
    --with-valgrind) with_valgrind=1 ;;
    --with-patchelf) with_patchelf=1 ;;
    -h|--help) sed -n '2,9p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option '$argument'; allowed: --with-slurm, --with-test-python, --with-valgrind, --with-patchelf" ;;
  esac
done

packages=(g++ cmake ninja-build ccache make git ca-certificates python3 python3-pip python3-venv libopenmpi-dev openmpi-bin libhdf5-dev
  hdf5-tools libboost-program-options-dev libgtest-dev libbenchmark-dev libspdlog-dev nlohmann-json3-dev zlib1g-dev)
slurm_packages=(slurmctld slurmd slurm-client munge)

# missing_packages NAME…: those that dpkg does not list as installed, one a line.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f='${db:Status-Abbrev} ${binary:Package}\n' "$@" 2>/dev/null | awk '$1 == "ii" {sub(/:.*/, "", $2); print $2}' || true)
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
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update >"$log" 2>&1 || say "apt-get update failed (see $log); trying with the lists that are there"
    updated=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1
}

install_packages() {
  command -v dpkg-query >/dev/null || fail "this is no Debian or Ubuntu; install the packages named in README.md and use 'cmake --preset release'"
  local missing
  mapfile -t missing < <(missing_packages "${packages[@]}")
  if [ ${#missing[@]} = 0 ]; then
    say "Debian packages: all ${#packages[@]} there"
    return
  fi
  say "Debian packages: installing ${missing[*]}"
  apt_install "${missing[@]}" || fail "apt-get could not install: ${missing[*]} (root or sudo is needed; log: $deps/apt.log)"
}

# install_optional WHAT LEFT_OUT NAME…: packages that some tests need; without them those tests skip.
install_optional() {
  local what=$1 left_out=$2 missing
  shift 2
  mapfile -t missing < <(missing_packages "$@")
  if [ ${#missing[@]} = 0 ]; then
    say "$what: there"
  else
    say "$what: installing ${missing[*]}"
    apt_install "${missing[@]}" || say "warning: could not install ${missing[*]} (log: $deps/apt.log); $left_out will skip"
  fi
}

ensure_venv() {
  if [ ! -x "$deps/venv/bin/pip" ]; then
    rm -rf "$deps/venv"
    python3 -m venv "$deps/venv" || return 1
  fi
}

install_libtorch() {
  if [ -n "${TH_LIBTORCH:-}" ]; then
    [ -e "$TH_LIBTORCH/lib/libtorch_cpu.so" ] || fail "TH_LIBTORCH=$TH_LIBTORCH holds no lib/libtorch_cpu.so"
    say "LibTorch: $TH_LIBTORCH (from TH_LIBTORCH)"
    return
  fi
  local place=$deps/libtorch partial=$deps/libtorch.partial python_version
  if [ -e "$place/torch/lib/libtorch_cpu.so" ]; then
    say "LibTorch: $place there"
    return
  fi
  say "LibTorch $torch_version: fetching the wheel from PyPI into $place (about 1.2 GB installed; a minute or more)"
  ensure_venv || fail "python3 -m venv $deps/venv failed"
  rm -rf "$partial" "$place"
  local options=(--no-deps --no-compile --disable-pip-version-check --progress-bar off --quiet --target "$partial")
  python_version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [ "$python_version" = "$cpython" ] || options+=(--python-version "$cpython" --implementation cp --only-binary=:all:)
  "$deps/venv/bin/pip" install "${options[@]}" "torch==$torch_version" 'nvidia-cuda-runtime==13.*' 'nvidia-cuda-cupti==13.*' ||
    fail "LibTorch could not be fetched from PyPI; set TH_LIBTORCH=/path to one that is there, or check the network (pip's lines above)"
  [ -e "$partial/torch/lib/libtorch_cpu.so" ] || fail "the torch wheel holds no torch/lib/libtorch_cpu.so"
  printf 'torch==%s\n' "$torch_version" >"$partial/.th_stamp"
  mv "$partial" "$place"
  say "LibTorch $torch_version: done"
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
  if ensure_venv && "$deps/venv/bin/pip" download --no-deps --disable-pip-version-check --progress-bar off --quiet --only-binary=:all: \
    --dest "$partial" "onednn-cpu-gomp==$version" &&
    python3 - "$partial" <<'PYTHON'
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
  if ensure_venv && "$deps/venv/bin/pip" install --disable-pip-version-check --progress-bar off --quiet "${wanted[@]}"; then
    printf '%s\n' "${wanted[*]}" >"$stamp"
  else
    say "warning: ${wanted[*]} could not be installed; the tests that need them will skip"
  fi
}

install_packages
mkdir -p "$deps"
exec 9>"$deps/.lock"
flock 9  # a second call beside this one waits
install_libtorch
install_onednn
[ $with_slurm = 0 ] || install_optional "Slurm packages" "the tests of jobs/" "${slurm_packages[@]}"
[ $with_valgrind = 0 ] || install_optional "valgrind" "the instruction counts of the kernels" valgrind
[ $with_patchelf = 0 ] || install_optional "patchelf" "the test of the GPU package" patchelf
[ $with_test_python = 0 ] || install_test_python
