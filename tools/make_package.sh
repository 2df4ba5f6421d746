#!/usr/bin/env bash
# tools/make_package.sh BUILD_FOLDER: what `ninja -C build package` calls when everything is built.
# Makes BUILD_FOLDER/th_app_gpu and .tar.gz beside it: th_app, libth_cuda.so, the GPU tests,
# gpu_check.sh, and every shared library and Open MPI plugin that they load, except those of a
# machine with a GPU and PyTorch: the C library, the NVIDIA driver, LibTorch and NCCL (both from
# PyTorch's wheel). Needs patchelf.
set -euo pipefail
case ${1:-} in
  -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
if [ $# != 1 ] || [ ! -d "$1" ]; then
  echo "package: error: give one build folder, as 'ninja -C build package' does" >&2
  exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "$1" && pwd)
place=$build/th_app_gpu
limit_mb=63  # what the machine with a GPU takes from here is 64 MiB in all

fail() { printf 'package: error: %s\n' "$*" >&2; exit 1; }
command -v patchelf >/dev/null ||
  fail "patchelf is not here; tools/install_dependencies.sh --with-patchelf installs it"
command -v ompi_info >/dev/null ||
  fail "ompi_info is not here: the package carries Open MPI, and this build's MPI is another one"

# prefix_path WHAT: where Open MPI looks for it below OPAL_PREFIX (Debian has its plugins in
# lib/ARCH/openmpi/lib/openmpi3).
prefix_path() {
  OPAL_PREFIX=/prefix ompi_info --path "$1" --parsable | sed -n "s|^path:$1:/prefix/||p"
}
# The other machine brings these libraries: the C library's parts, and LibTorch's.
c_library='ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv|nsl|anl)\.so\.[0-9]+'
torch_libraries='lib(torch|c10|gomp|cudart|cupti|cublas|nccl|cuda)[^/]*'
# libraries FILE…: the shared libraries that they load, one a line, without those.
libraries() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE "/($c_library|$torch_libraries)\$" || true
}

rm -rf "$place" "$place.tar.gz"
# What run_env.sh says in a package beside what it says everywhere.
package_env() {
  cat <<'EOF'

# Of a package: Open MPI lies in it, LibTorch is this machine's (TH_LIBTORCH=/path, or python3's
# torch).
package=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export OPAL_PREFIX=$package PMIX_INSTALL_PREFIX=$package PATH=$package/bin:$PATH
export PMIX_MCA_mca_base_component_show_load_errors=0 PMIX_MCA_pcompress_base_silence_warning=1
if [ ! -e "$package/libtorch/lib" ]; then
  its_folder='import os, torch; print(os.path.dirname(torch.__file__))'
  ln -sfn "${TH_LIBTORCH:-$(cd / && python3 -c "$its_folder")}" "$package/libtorch"
  unset its_folder
fi
unset package
EOF
}
mkdir -p "$place"/{bin,lib,benchmarks}
# th_translate, th_inspect, th_corpus, th_score and th_report use no GPU.
cp "$build"/bin/th_app "$build"/bin/th_gpu_* "$place/bin/"
cp "$build/lib/libth_cuda.so" "$place/lib/"
cp "$build/gpu_tests.txt" "$root"/tools/{gpu_check,gpu_stages,run_env}.sh "$root/LICENSE" "$place/"
cp "$root"/benchmarks/peers/peer_{train,gpu}.py "$place/benchmarks/"
cp -r "$root/inputs" "$place/"
mpirun=$(readlink -f "$(command -v mpirun)")
cp "$mpirun" "$place/bin/mpirun"
cp "$(readlink -f "$(command -v orted)")" "$place/bin/orted"

package_env >>"$place/run_env.sh"
# Open MPI on one node: its plugins without those for networks, OpenSHMEM and ROMIO, which would
# bring libraries of their own.
networks='ucx|ofi|openib|usnic|psm2?|portals4|romio[0-9]*|hcoll|fca|memheap_.*|slurm|tm|lsf'
shared_memory='memheap|spml|sshmem|scoll|atomic'
plugins=$(prefix_path pkglibdir)
help=$(prefix_path pkgdatadir)
[ -n "$plugins" ] && [ -n "$help" ] || fail "ompi_info does not say where Open MPI has its plugins"
mkdir -p "$place/$plugins" "$place/$help"
installed=$(ompi_info --path pkglibdir --parsable | cut -d: -f3)
find "$installed" -name 'mca_*.so' | grep -vE "_($networks)\.so\$|/mca_($shared_memory)_" |
  xargs -I{} cp {} "$place/$plugins/"
texts=$(ompi_info --path pkgdatadir --parsable | cut -d: -f3)
cp "$texts"/*.txt "$place/$help/" 2>/dev/null || true

# All libraries of the programs and plugins; those of libraries are in ldd's answer already.
mapfile -t needed < <(libraries "$place"/bin/* "$place"/lib/*.so "$place/$plugins"/*.so)
cp -L "${needed[@]}" "$place/lib/"
# Symbols that no loader needs are a fifth of it; before patchelf, whose sections strip would move.
strip --strip-unneeded "$place"/bin/* "$place"/lib/*.so* "$place/$plugins"/*.so
# From the plugins' folder back to the package:
up=$(printf '%s' "$plugins" | sed 's|[^/][^/]*|..|g')
torch="\$ORIGIN/../libtorch"
torch_path="$torch/lib:$torch/../nvidia/nccl/lib:$torch/../nvidia/cu13/lib"
for file in "$place"/bin/*; do patchelf --set-rpath "\$ORIGIN/../lib:$torch_path" "$file"; done
for file in "$place"/lib/*.so*; do patchelf --set-rpath "\$ORIGIN:$torch_path" "$file"; done
for file in "$place/$plugins"/*.so; do patchelf --set-rpath "\$ORIGIN/$up/lib" "$file"; done
# Where the executables' interpreter and libraries ask for a newer C library than the machine has,
# they would say so in the loader's words.
newest=$(objdump -T "$place"/bin/* "$place"/lib/*.so* 2>/dev/null | grep -oE 'GLIBC_[0-9.]+' |
  sort -Vu | tail -n 1 | cut -d_ -f2)
torch=$(sed -n 's/^TH_LIBTORCH:[A-Z]*=//p' "$build/CMakeCache.txt")
torch_version=$(
  sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$torch/version.py" 2>/dev/null || true)
git_version=$(git -C "$root" describe --always --dirty --tags 2>/dev/null || echo none)
printf 'glibc=%s\ntorch=%s\ngit=%s\n' "$newest" "$torch_version" "$git_version" \
  >"$place/package.txt"

size_mb=$(du -sm --apparent-size "$place" | cut -f1)
[ "$size_mb" -lt "$limit_mb" ] || fail "$place has $size_mb MB; the limit is $limit_mb MB"
tar -C "$build" -czf "$place.tar.gz" th_app_gpu
packed_mb=$(du -m "$place.tar.gz" | cut -f1)
count=$(find "$place/lib" -maxdepth 1 -name '*.so*' | wc -l)
echo "package: $place ($size_mb MB) and $place.tar.gz ($packed_mb MB)," \
  "$count libraries, C library from $newest on"
