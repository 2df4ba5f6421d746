# What the job scripts share; they read it, nobody runs it. It needs: script (its name), overrides
# (an array of section.key=value).
# shellcheck shell=bash
ulimit -c 0

# Set where the scripts are installed.
installed_bin='@TH_INSTALLED_BIN@' installed_data='@TH_INSTALLED_DATA@'

fail() { printf 'job: error: %s\n' "$2" >&2; exit "$1"; }

# find_program VARIABLE NAME: the program that VARIABLE names, else that of the build below this
# folder, of the installation, or of PATH.
find_program() {
  local given=${!1:-} found
  if [ -n "$given" ]; then
    [ -x "$given" ] || fail 2 "no program $given ($1 names it)"
    printf '%s\n' "$given"
    return
  fi
  for found in "build/bin/$2" "$installed_bin/$2" "$(command -v "$2" || true)"; do
    [ -n "$found" ] && [ -x "$found" ] || continue
    printf '%s\n' "$found"
    return
  done
  fail 2 "no program build/bin/$2 below $PWD, and none is installed (tools/build.sh makes it; $1 \
names another)"
}

# given KEY: the value that the caller gives to a key; fails where he gives none.
given() {
  local word
  for word in "${overrides[@]+"${overrides[@]}"}"; do
    case ${word#--} in "$1"=*) printf '%s\n' "${word#*=}"; return 0 ;; esac
  done
  return 1
}
# add_default KEY=VALUE: where the caller says nothing of KEY.
add_default() { given "${1%%=*}" >/dev/null || overrides+=("$1"); }
# replace KEY VALUE
replace() {
  local word kept=()
  for word in "${overrides[@]+"${overrides[@]}"}"; do
    case ${word#--} in "$1"=*) ;; *) kept+=("$word") ;; esac
  done
  overrides=("${kept[@]+"${kept[@]}"}" "$1=$2")
}

cpus=${SLURM_CPUS_PER_TASK:-1}
# Where --ntasks-per-node alone is given, some Slurms leave SLURM_NTASKS unset.
a_node=${SLURM_NTASKS_PER_NODE:-${SLURM_TASKS_PER_NODE:-1}}
ranks=${SLURM_NTASKS:-$((SLURM_JOB_NUM_NODES * ${a_node%%[!0-9]*}))}
export SRUN_CPUS_PER_TASK=$cpus  # since Slurm 22.05 srun does not inherit --cpus-per-task
export OMP_NUM_THREADS=$cpus
if [ -n "${SLURM_JOB_GPUS:-${SLURM_GPUS_ON_NODE:-}}" ]; then
  # Devices are counted as nvidia-smi and Slurm count them, and NCCL says what goes wrong.
  export CUDA_DEVICE_ORDER=${CUDA_DEVICE_ORDER:-PCI_BUS_ID} NCCL_DEBUG=${NCCL_DEBUG:-WARN}
  # Where NCCL takes a wrong network, its name is the site's to tell, for example
  #   sbatch --export=ALL,NCCL_SOCKET_IFNAME=ib0,NCCL_IB_HCA=mlx5 …      (InfiniBand)
  #   sbatch --export=ALL,NCCL_SOCKET_IFNAME=hsn …                       (Slingshot)
fi

LAUNCH=${LAUNCH:-srun --mpi=pmix}
read -ra launch <<<"$LAUNCH"
if [ "$cpus" -gt 1 ] && [[ $LAUNCH == srun* ]]; then
  # srun gives each rank cores of its own, and its threads stay there, one a core. A site that has
  # set these knows better. Under mpirun, which binds nothing here, all ranks would share one core.
  export SLURM_CPU_BIND=${SLURM_CPU_BIND:-cores}
  export OMP_PLACES=${OMP_PLACES:-cores} OMP_PROC_BIND=${OMP_PROC_BIND:-close}
fi
case $LAUNCH in
  mpirun*)
    launch+=(-np "$ranks" --map-by "ppr:$((ranks / SLURM_JOB_NUM_NODES)):node" --bind-to none) ;;
  *) launch+=(--kill-on-bad-exit=1) ;;
esac
place="$SLURM_JOB_NUM_NODES nodes ($SLURM_JOB_NODELIST), $ranks ranks, $cpus CPUs a rank"

ask_for_checkpoint() {
  [ -n "$pid" ] || return 0
  echo "job: USR1, asking the ranks for a checkpoint"
  kill -USR1 "$pid"
}

# train: checks deck and data, starts the run, hands USR1 on, and asks for a new start where the run
# wants one.
train() {
  local app deck rc pid=
  app=$(find_program TH_APP th_app) || exit
  deck=${DECK:-inputs/ddp.in}
  [ -e "$deck" ] || [ -n "${DECK:-}" ] || deck=$installed_data/$deck
  add_default checkpoint.resume=latest  # the same script is start and restart
  add_default "run.threads=$cpus"
  if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then  # sbatch --array=1-5: a run for each seed
    local folder
    folder=$(given run.output_dir) || { folder=${deck##*/}; folder=runs/${folder%.*}; }
    add_default "run.seed=$SLURM_ARRAY_TASK_ID"
    replace run.output_dir "$folder/seed_$SLURM_ARRAY_TASK_ID"
  fi
  local check=(--check)
  [ "${CHECK_DATA:-1}" = 0 ] || check+=(--data)
  "$app" "$deck" "${check[@]}" "${overrides[@]}" >/dev/null ||
    fail $? "$deck was refused, nothing was started"
  echo "job: $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)): $place"
  echo "job: ${launch[*]} $app $deck ${overrides[*]}"
  trap ask_for_checkpoint USR1
  "${launch[@]}" "$app" "$deck" "${overrides[@]}" &
  pid=$!
  while :; do
    wait "$pid"
    rc=$?
    kill -0 "$pid" 2>/dev/null || break  # wait returns early when the trap fires
  done
  echo "job: th_app ended with code $rc"
  if [ "$rc" = 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
  exit "$rc"
}
