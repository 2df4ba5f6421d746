th_add_mpi_test(exactness RANKS 1 2 3 4 8 TORCH LIBS th_zero)
th_add_mpi_test(memory_plan RANKS 1 2 3 4 TORCH LIBS th_zero)
th_add_mpi_test(save_failures RANKS 2 TORCH LIBS th_train)
th_add_mpi_test(checkpoint_memory RANKS 1 2 3 TORCH LIBS th_train)
