# The tests that run in a throw-away Slurm of two virtual nodes source this with source_dir set. It
# sets sandbox, work (a folder of the test's own, named by the first argument) and the cluster's
# place, and exits with 77, and the reason, where there is no Slurm.
#   TH_SLURM_SANDBOX   the sandbox script (default ../shared/slurm/slurm_sandbox.sh)
sandbox=${TH_SLURM_SANDBOX:-$source_dir/../shared/slurm/slurm_sandbox.sh}
PATH=$PATH:/usr/sbin:/sbin
[ -e "$sandbox" ] || { echo "skipped: no $sandbox"; exit 77; }
for tool in munged slurmctld slurmd sbatch; do
  command -v $tool >/dev/null || {
    echo "skipped: $tool is not installed (tools/install_dependencies.sh --with-slurm)"
    exit 77
  }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX")
export SLURM_SANDBOX_DIR=$work/cluster SLURM_SANDBOX_PORT=$((20000 + $$ % 10000))
export SLURM_SANDBOX_NODES=2 SLURM_SANDBOX_CPUS=4
