# The instructions of our own kernels, counted by callgrind, are compared with a committed table.
# The kernels are linked without LibTorch.
if(NOT TH_SANITIZE)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  set(src ${CMAKE_SOURCE_DIR}/src)
  th_isa_objects(host_ops th_host_ops)
  th_isa_objects(flat_kernels th_flat_kernels)
  add_executable(th_callgrind_kernels callgrind/kernels.cpp
    ${src}/model/ops/tables/host_dispatch.cpp ${src}/model/ops/host_threads_serial.cpp
    ${host_ops} ${src}/zero/flat/flat_dispatch.cpp ${flat_kernels}
    ${src}/zero/optimizer.cpp ${src}/zero/slot_tree.cpp)
  th_apply_options(th_callgrind_kernels)
  target_include_directories(th_callgrind_kernels PRIVATE ${src})
  target_link_libraries(th_callgrind_kernels PRIVATE th_layout)
  string(REGEX MATCH "^[0-9]+" compiler_major ${CMAKE_CXX_COMPILER_VERSION})
  add_test(NAME callgrind.kernels
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/check_counts.py
      $<TARGET_FILE:th_callgrind_kernels>
           "${CMAKE_CXX_COMPILER_ID} ${compiler_major}" ${CMAKE_BUILD_TYPE})
  # Instructions are the same beside other tests; the limit leaves room for those.
  set_tests_properties(callgrind.kernels PROPERTIES
    LABELS unit TIMEOUT 300 SKIP_RETURN_CODE 77 COST 200)
endif()
