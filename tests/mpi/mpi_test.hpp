#pragma once

#include <gtest/gtest.h>

#include "th/runtime/mpi.hpp"

/// main of an MPI test: only rank 0 reports passes, every rank reports failures; a failure on any rank fails all.
#define TH_MPI_TEST_MAIN                                                                                        \
  int main(int argc, char** argv) {                                                                             \
    th::runtime::MpiSession session(argc, argv);                                                                \
    testing::InitGoogleTest(&argc, argv);                                                                       \
    const int failed = RUN_ALL_TESTS();                                                                         \
    int any = 0;                                                                                                \
    MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);                                          \
    return any;                                                                                                 \
  }
