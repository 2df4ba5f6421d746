# Bits are compared at 1, 2, 3, 4 and 8 ranks in exactness; what others look at follows the same
# formulas at every count, so that an odd one and one beyond a node stand for all. The rest is long.
th_add_mpi_test(self_test RANKS 1 2 3 4 8 LIBS th_runtime)
th_add_mpi_test(clock_offset RANKS 2 3 4 LIBS th_runtime)
th_add_mpi_test(exactness RANKS 1 2 3 4 8 TORCH LIBS th_zero
  LATER 1=Nodes.* 2=Nodes.*:*ShortPrecision* 4=Nodes.LittleShared*:*ShortPrecision*
    8=Nodes.LittleShared*)
th_add_mpi_test(options RANKS 1 3 8 LONG_RANKS 2 TORCH LIBS th_zero)
th_add_mpi_test(attention_kinds RANKS 1 3 8 LONG_RANKS 2 TORCH LIBS th_zero)
th_add_mpi_test(state_bytes RANKS 1 3 4 8 LONG_RANKS 2 5 6 7 TORCH LIBS th_zero
  LATER 8=StateBytes.OfEveryOptimizer*)
th_add_mpi_test(dealing RANKS 1 2 3 4 LONG_RANKS 8 TORCH LIBS th_zero)
th_add_mpi_test(partition RANKS 1 3 4 LONG_RANKS 2 TORCH LIBS th_zero)
th_add_mpi_test(memory_plan RANKS 1 3 4 LONG_RANKS 2 TORCH LIBS th_zero
  LATER 3=*CrossesNodes* 4=*.Growth*:*.Peak*:*.Sentences*:*.EveryClass*:*Audit*:*Overlap*)
th_add_mpi_test(lock_step RANKS 1 3 8 LONG_RANKS 2 TORCH LIBS th_train)
th_add_mpi_test(decoding_memory RANKS 1 3 LONG_RANKS 2 4 TORCH LIBS th_train)
th_add_mpi_test(save_failures RANKS 2 TORCH LIBS th_train)
th_add_mpi_test(checkpoint_memory RANKS 1 2 3 TORCH LIBS th_train)
th_add_mpi_test(trace_file RANKS 1 2 3 4 TORCH LIBS th_train)
th_add_mpi_test(event_order RANKS 2 3 LONG_RANKS 1 TORCH LIBS th_zero)
th_add_mpi_test(one_rank_error RANKS 1 2 3 TORCH LIBS th_zero)
th_add_mpi_test(audit RANKS 1 3 LONG_RANKS 2 4 TORCH LIBS th_train)
th_add_mpi_test(overlap RANKS 1 2 3 TORCH LIBS th_zero)
th_add_mpi_test(offload RANKS 1 3 LONG_RANKS 2 4 TORCH LIBS th_train)

# The same tests with Debian's MPICH, in a build of its own.
if(NOT TH_SANITIZE AND TH_MPIEXEC_FLAGS)
  add_test(NAME mpich.mpi
    COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run_mpich.sh ${CMAKE_SOURCE_DIR})
  set_tests_properties(mpich.mpi PROPERTIES LABELS long TIMEOUT 21600 RUN_SERIAL ON
    SKIP_RETURN_CODE 77)
endif()
