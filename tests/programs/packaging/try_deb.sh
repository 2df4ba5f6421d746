#!/usr/bin/env bash
# try_deb.sh: what test_deb.py runs in a bare Debian, in a folder that has this script and the
# package alone.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
fail() { echo "FAILED: $*"; exit 1; }
package=$(echo "$PWD"/th-app_*.deb)
[ ! -e CMakeLists.txt ] || fail "the source is here"
if command -v mpirun g++ cmake; then fail "this Debian is not bare"; fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$package" >/tmp/apt.log 2>&1 ||
  { tail -n 20 /tmp/apt.log; fail "apt could not install $package"; }
dpkg-query -W -f '${Package} ${Version}: ${Depends}\n' th-app

mkdir /root/work
cd /root/work
for program in th_app th_translate th_inspect th_corpus th_score th_report; do
  "$program" --version
  [ -s "/usr/share/man/man1/$program.1.gz" ] || fail "no manual page of $program"
done
share=/usr/share/th_app
# shellcheck source=tools/run_env.sh
. "$share/run_env.sh"
small=(model.d_model=64 model.num_heads=4 model.num_encoder_layers=1 model.num_decoder_layers=1
  model.d_ff=128 train.max_steps=20 decode.max_length=20)
mpirun -np 2 th_app "$share/inputs/stage2.in" "${small[@]}" run.output_dir=run |
  tee run.log | grep -E '^Done: 20 steps' || { cat run.log; fail "the training"; }
grep -E ' gemm=' run.log || true
th_app "$share/inputs/single.in" "${small[@]}" run.gemm=onednn run.output_dir=onednn |
  grep -E ' gemm=onednn-[0-9]' || fail "oneDNN is not the package's"
[ "$(echo "12 May" | th_translate run | wc -l)" = 1 ] || fail "the translation"
th_inspect info run | grep -E '^step +20$' || fail "th_inspect info"
th_inspect verify run
th_corpus numbers --pairs 100 --seed 1 --output corpus
ls corpus

# The library, by a program of others.
apt-get install -y -qq --no-install-recommends cmake g++ make libhdf5-dev libspdlog-dev \
  nlohmann-json3-dev >/tmp/apt.log 2>&1 || { tail -n 20 /tmp/apt.log; fail "apt: the compiler"; }
cmake -S "$share/examples/read_checkpoint" -B example >/dev/null
cmake --build example >/dev/null
example/read_checkpoint run | head -n 3

apt-get remove -y -qq th-app >/dev/null 2>&1
for folder in /usr/lib/th_app "$share" /usr/include/th /usr/bin/th_app; do
  [ ! -e "$folder" ] || fail "$folder is left"
done
echo "try_deb: passed"
