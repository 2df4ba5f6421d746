th_add_mpi_test(exactness RANKS 1 2 3 4 8 TORCH LIBS th_zero)
th_add_mpi_test(state_bytes RANKS 1 2 3 4 5 6 7 8 TORCH LIBS th_zero)
th_add_mpi_test(memory_plan RANKS 1 2 3 4 TORCH LIBS th_zero)
