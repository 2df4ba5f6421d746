# shellcheck shell=bash
# source tools/run_env.sh: what Open MPI needs for more ranks than cores and for root, on one
# machine. Values already set stay.
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=${OMPI_ALLOW_RUN_AS_ROOT:-1}
  export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}
fi
# More ranks than cores:
export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
# A waiting rank gives its core away:
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
# Ranks are not tied to one core:
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
# Containers forbid copies between processes:
single_copy=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
export OMPI_MCA_btl_vader_single_copy_mechanism=$single_copy
unset single_copy
# run.threads governs the compute threads:
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
