# The programs as a user runs them: whole runs of th_app, alone and below mpirun, and what th_inspect, th_translate, th_corpus, HDF5's own
# tools, h5py, TensorBoard and PyTorch make of what they leave. Each test_NAME.py is the test program.NAME; code 77 is a skip, with its reason.
if(TARGET th_app)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  set(th_program_tests_mpi benchmarks checkpoints cli finished h5py inspect metrics pytorch rerun resume stop_signal tensorboard translate)
  set(th_program_tests_alone corpus)
  foreach(name IN LISTS th_program_tests_mpi th_program_tests_alone)
    add_test(NAME program.${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/test_${name}.py)
    set(labels program)
    if(name IN_LIST th_program_tests_mpi)
      list(APPEND labels mpi)
    endif()
    set_tests_properties(program.${name} PROPERTIES LABELS "${labels}" TIMEOUT 600 PROCESSORS 2 SKIP_RETURN_CODE 77
      ENVIRONMENT "TH_SOURCE_DIR=${CMAKE_SOURCE_DIR};TH_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};TH_MPIRUN=${MPIEXEC_EXECUTABLE}")
  endforeach()
endif()
