th_add_mpi_test(exactness RANKS 1 2 3 4 8 TORCH LIBS th_zero)
