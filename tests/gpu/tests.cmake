# The CUDA plugin's tests. Those labelled unit and mpi need no GPU; those labelled gpu do, and are
# skipped with the reason where there is none.

# The engine's arithmetic and the host's ops, without LibTorch, are what the kernels are compared
# with.
set(zero ${CMAKE_SOURCE_DIR}/src/zero)
set(ops ${CMAKE_SOURCE_DIR}/src/model/ops)
th_isa_objects(host_ops th_host_ops)
th_isa_objects(flat_kernels th_flat_kernels)
set(host_arithmetic ${ops}/tables/host_dispatch.cpp ${ops}/host_threads_serial.cpp ${host_ops}
  ${zero}/flat/flat_dispatch.cpp ${zero}/optimizer.cpp ${zero}/slot_tree.cpp ${flat_kernels})
add_library(th_cpu_reference STATIC ${zero}/engine_buffers.cpp ${zero}/state_layout.cpp
  ${zero}/state_store.cpp ${zero}/whole/whole_matrices.cpp
  ${host_arithmetic})
target_include_directories(th_cpu_reference PUBLIC ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(th_cpu_reference PUBLIC th_config th_layout th_ledger)
th_apply_options(th_cpu_reference)
th_use_unity(th_cpu_reference)
set(gpu_mpi_environment OMP_NUM_THREADS=1
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none)

# th_add_gpu_program(name SOURCES … LIBS …)
function(th_add_gpu_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  th_apply_options(${name})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src
    ${CMAKE_SOURCE_DIR}/tests/mpi ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${A_LIBS})
endfunction()

th_add_gpu_program(th_test_cuda_arithmetic
  SOURCES gpu/kernels/test_elementwise.cpp gpu/kernels/test_model_bodies.cpp
    gpu/device/test_device_map.cpp ${CMAKE_SOURCE_DIR}/src/cuda/device/device_map.cpp
  LIBS th_cpu_reference GTest::gtest_main)
add_test(NAME unit.cuda_arithmetic COMMAND th_test_cuda_arithmetic --gtest_brief=1)
th_add_gpu_program(th_test_cuda_plugin
  SOURCES gpu/device/test_cuda_plugin.cpp LIBS th_runtime GTest::gtest)
target_compile_definitions(th_test_cuda_plugin PRIVATE TH_EXPECT_CUDA=$<BOOL:${TH_CUDA}>)
add_test(NAME unit.cuda_plugin COMMAND th_test_cuda_plugin --gtest_brief=1)
set_tests_properties(unit.cuda_arithmetic unit.cuda_plugin PROPERTIES
  LABELS unit TIMEOUT 120 ENVIRONMENT "${gpu_mpi_environment}")

if(TH_CUDA)
  add_dependencies(th_test_cuda_plugin th_cuda)
  # The transport's own sources run over a CUDA and NCCL in host memory, at several rank counts. The
  # tests look at data, at the order of events and at failures.
  set(cuda ${CMAKE_SOURCE_DIR}/src/cuda)
  set(transport ${cuda}/transport)
  # th_add_on_host_test(name ROOM RANKS … SOURCES …): tests/gpu/ROOM/test_NAME_on_host.cpp.
  function(th_add_on_host_test name room)
    cmake_parse_arguments(A "" "" "RANKS;SOURCES;LIBS" ${ARGN})
    set(program th_mpi_${name}_on_host)
    th_add_gpu_program(${program}
      SOURCES gpu/${room}/test_${name}_on_host.cpp gpu/fakes/fake_gpu.cpp
        ${cuda}/handles/counted_memory.cpp ${cuda}/handles/cuda_handles.cpp
        ${cuda}/handles/cuda_stream.cpp ${A_SOURCES}
      LIBS th_runtime GTest::gtest ${A_LIBS})
    target_include_directories(${program} SYSTEM PRIVATE
      ${CUDAToolkit_INCLUDE_DIRS} ${TH_NCCL_INCLUDE_DIR})
    foreach(np IN LISTS A_RANKS)
      th_processors(processors ${np})
      add_test(NAME mpi.${name}_on_host.np${np}
        COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe -np ${np} $<TARGET_FILE:${program}>
          --gtest_brief=1)
      set_tests_properties(mpi.${name}_on_host.np${np} PROPERTIES
        LABELS mpi TIMEOUT 300 PROCESSORS ${processors} ENVIRONMENT "${gpu_mpi_environment}")
    endforeach()
  endfunction()
  th_add_on_host_test(nccl transport RANKS 1 2 3 SOURCES ${transport}/nccl_communicator.cpp
    ${transport}/nccl_collectives.cpp ${transport}/nccl_self_test.cpp)
  th_add_on_host_test(device device RANKS 1
    SOURCES ${cuda}/device/cuda_device.cpp LIBS th_cpu_reference)
  th_add_on_host_test(staged transport RANKS 1 2 3 4 SOURCES ${transport}/staged_collectives.cpp)

  # A plugin for whole programs on machines without a GPU (fake_plugin.cpp) stands in a folder of
  # its own: program.gpu_run names it by TH_CUDA_PLUGIN.
  add_library(th_fake_cuda MODULE
    gpu/fakes/fake_plugin.cpp gpu/fakes/fake_gpu.cpp
    ${cuda}/plugin.cpp ${cuda}/handles/counted_memory.cpp ${cuda}/device/cuda_device.cpp
    ${cuda}/handles/cuda_handles.cpp ${cuda}/handles/cuda_stream.cpp
    ${cuda}/device/device.cpp ${cuda}/device/device_map.cpp
    ${cuda}/kernels/kernel_table.cpp
    ${transport}/nccl_collectives.cpp ${transport}/nccl_communicator.cpp
    ${transport}/nccl_self_test.cpp ${transport}/staged_collectives.cpp
    ${CMAKE_SOURCE_DIR}/src/base/build_info.cpp ${host_arithmetic})
  set_target_properties(th_fake_cuda PROPERTIES OUTPUT_NAME th_cuda
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fake_cuda
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_definitions(th_fake_cuda PRIVATE
    TH_CUDA_VERSION="fake" OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
  target_include_directories(th_fake_cuda PRIVATE
    ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests
    ${CMAKE_BINARY_DIR}/generated)
  target_include_directories(th_fake_cuda SYSTEM PRIVATE
    ${CUDAToolkit_INCLUDE_DIRS} ${TH_NCCL_INCLUDE_DIR})
  target_link_libraries(th_fake_cuda PRIVATE MPI::MPI_CXX)
  target_link_options(th_fake_cuda PRIVATE LINKER:--no-undefined)
  th_apply_options(th_fake_cuda)
  th_use_unity(th_fake_cuda)

  # th_add_gpu_test(name RANKS program) adds a test that is skipped without a device; it runs
  # without mpirun where RANKS is 0. tools/gpu_check.sh reads the same list.
  set(gpu_tests "")
  function(th_add_gpu_test name ranks program)
    set(launcher ${MPIEXEC_EXECUTABLE} --oversubscribe -np ${ranks})
    if(ranks EQUAL 0)
      set(launcher "")
    endif()
    add_test(NAME gpu.${name} COMMAND ${launcher} $<TARGET_FILE:${program}> --gtest_brief=1)
    set_tests_properties(gpu.${name} PROPERTIES
      LABELS gpu TIMEOUT 300 SKIP_RETURN_CODE 77 ENVIRONMENT "${gpu_mpi_environment}")
    set(gpu_tests "${gpu_tests}gpu.${name} ${ranks} ${program} --gtest_brief=1\n" PARENT_SCOPE)
  endfunction()
  th_add_gpu_program(th_gpu_kernels
    SOURCES gpu/device/test_device.cpp gpu/kernels/test_fused_attention.cpp
      gpu/kernels/test_kernels.cpp gpu/kernels/test_matrix_products.cpp
      gpu/kernels/test_model_kernels.cpp
    LIBS th_cuda_layer th_cpu_reference GTest::gtest)
  th_add_gpu_test(kernels 0 th_gpu_kernels)
  th_add_gpu_program(th_gpu_nccl
    SOURCES gpu/transport/test_nccl.cpp LIBS th_cuda_layer th_runtime GTest::gtest)
  th_add_gpu_program(th_gpu_staged
    SOURCES gpu/transport/test_staged.cpp LIBS th_cuda_layer th_runtime GTest::gtest)
  foreach(np 1 2 4)
    th_add_gpu_test(nccl.np${np} ${np} th_gpu_nccl)
    th_add_gpu_test(staged.np${np} ${np} th_gpu_staged)
  endforeach()
  # Whole runs of th_app; gpu_check.sh calls the script by itself.
  if(TARGET th_app)
    add_test(NAME gpu.stages
      COMMAND bash ${CMAKE_SOURCE_DIR}/tools/gpu_stages.sh ${CMAKE_BINARY_DIR})
    set_tests_properties(gpu.stages PROPERTIES
      LABELS gpu TIMEOUT 900 SKIP_RETURN_CODE 77 ENVIRONMENT "${gpu_mpi_environment}")
  endif()
  file(WRITE ${CMAKE_BINARY_DIR}/gpu_tests.txt "${gpu_tests}")

  # A folder that runs on a machine with a GPU and LibTorch alone.
  add_custom_target(package
    COMMAND bash ${CMAKE_SOURCE_DIR}/tools/make_package.sh ${CMAKE_BINARY_DIR}
    USES_TERMINAL VERBATIM)
  add_dependencies(package th_app th_translate th_inspect th_corpus th_score th_cuda
    th_gpu_kernels th_gpu_nccl th_gpu_staged)
endif()
