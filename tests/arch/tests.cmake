# Rules on the source tree itself: layers, headers that stand alone, sizes, format.
find_package(Python3 COMPONENTS Interpreter QUIET)
add_test(NAME arch.plugin_abi COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR}
  -DFOLDER=${CMAKE_CURRENT_BINARY_DIR}/plugin_abi
  -P ${CMAKE_SOURCE_DIR}/tests/arch/check_plugin_abi.cmake)
set_tests_properties(arch.plugin_abi PROPERTIES LABELS unit TIMEOUT 60)
if(Python3_FOUND)
  # th_add_arch_test(name script ARGUMENTS …): tests/arch/<script> with the arguments.
  function(th_add_arch_test name script)
    add_test(NAME arch.${name}
      COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/arch/${script} ${ARGN})
    set_tests_properties(arch.${name} PROPERTIES LABELS unit TIMEOUT 60)
  endfunction()
  th_add_arch_test(layers check_layers.py ${CMAKE_SOURCE_DIR})
  th_add_arch_test(layers_self_test check_layers.py --self-test)
  th_add_arch_test(sizes check_sizes.py ${CMAKE_SOURCE_DIR})
  th_add_arch_test(sizes_self_test check_sizes.py --self-test)
  th_add_arch_test(classes check_classes.py ${CMAKE_SOURCE_DIR})
  th_add_arch_test(classes_self_test check_classes.py --self-test)
  th_add_arch_test(format check_format.py ${CMAKE_SOURCE_DIR})
  set_tests_properties(arch.format PROPERTIES TIMEOUT 300 PROCESSORS 2 SKIP_RETURN_CODE 77)
  list(JOIN MPI_CXX_INCLUDE_DIRS "," arch_mpi_includes)
  list(JOIN HDF5_C_INCLUDE_DIRS "," arch_hdf5_includes)
  set(arch_headers check_headers.py ${CMAKE_SOURCE_DIR} ${CMAKE_CXX_COMPILER}
    "${arch_mpi_includes},${arch_hdf5_includes},${CMAKE_BINARY_DIR}/generated")
  th_add_arch_test(headers ${arch_headers})
  th_add_arch_test(headers_long ${arch_headers} --all)
  set_tests_properties(arch.headers arch.headers_long PROPERTIES TIMEOUT 600 PROCESSORS 2)
  set_tests_properties(arch.headers_long PROPERTIES LABELS long)
  # Objects that are compiled for one instruction set (cmake/ThIsa.cmake) share no code with those
  # for another.
  get_property(isa_sets GLOBAL PROPERTY TH_ISA_SETS)
  list(JOIN isa_sets "\n" isa_sets)
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/isa_sets.txt CONTENT "${isa_sets}\n")
  th_add_arch_test(isa_symbols check_isa_symbols.py ${CMAKE_NM} ${CMAKE_BINARY_DIR}/isa_sets.txt
    "build=${CMAKE_BUILD_TYPE}" "sanitizers=${TH_SANITIZE}")
  th_add_arch_test(isa_symbols_self_test check_isa_symbols.py --self-test ${CMAKE_NM}
    ${CMAKE_CXX_COMPILER})
  set_tests_properties(arch.isa_symbols arch.isa_symbols_self_test PROPERTIES SKIP_RETURN_CODE 77)
endif()
