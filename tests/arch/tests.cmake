# Rules on the source tree itself: layers, headers that stand alone, file sizes.
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND)
  set(arch_dir ${CMAKE_CURRENT_LIST_DIR})
  add_test(NAME arch.layers COMMAND ${Python3_EXECUTABLE} ${arch_dir}/check_layers.py ${CMAKE_SOURCE_DIR})
  add_test(NAME arch.layers_self_test COMMAND ${Python3_EXECUTABLE} ${arch_dir}/check_layers.py --self-test)
  add_test(NAME arch.sizes COMMAND ${Python3_EXECUTABLE} ${arch_dir}/check_sizes.py ${CMAKE_SOURCE_DIR})
  list(JOIN MPI_CXX_INCLUDE_DIRS "," arch_mpi_includes)
  list(JOIN HDF5_C_INCLUDE_DIRS "," arch_hdf5_includes)
  add_test(NAME arch.headers COMMAND ${Python3_EXECUTABLE} ${arch_dir}/check_headers.py ${CMAKE_SOURCE_DIR} ${CMAKE_CXX_COMPILER}
           "${arch_mpi_includes},${arch_hdf5_includes},${CMAKE_BINARY_DIR}/generated")
  set_tests_properties(arch.layers arch.layers_self_test arch.sizes PROPERTIES LABELS unit TIMEOUT 60)
  set_tests_properties(arch.headers PROPERTIES LABELS unit TIMEOUT 600 PROCESSORS 2)
endif()
