# The programs as a user runs them: whole runs of th_app, alone and below mpirun, and what
# th_inspect, th_translate, th_corpus, HDF5's own tools, h5py, TensorBoard and PyTorch make of what
# they leave. Each test_NAME.py is the test program.NAME; code 77 is a skip, with its reason.
if(TARGET th_app)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  # Several ranks at a time for most of the test:
  set(th_program_tests_mpi
    attention_kinds checkpoints choosing cli corpora fine_tuning folder_troubles gpu_check gpu_run
    job_scripts lock_step metrics model_options nodes optimizers option_pairs output_folder overlap
    plan precision profile replay report rerun resume resume_proof resume_troubles save_faults
    save_killed save_troubles stop_signal summarization tokenizers translate_jobs
    translate_sharded translate_streams troubles validation watching windows)
  # One process for most of it, and ranks at the beginning:
  set(th_program_tests_alone
    corpus decoding decoding_options export_ctranslate2 fetch_corpus finished golden_checkpoint
    h5py import_marian import_marianmt inspect inspect_average inspect_diff inspect_export
    inspect_import one_translation pytorch score score_curve serve shortlist tensorboard translate)
  # Clocks, and the names in /dev/shm:
  set(th_program_tests_serial benchmarks shared_memory)
  set(program_environment TH_SOURCE_DIR=${CMAKE_SOURCE_DIR}
    TH_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY} TH_MPIRUN=${MPIEXEC_EXECUTABLE}
    PYTHONPATH=${CMAKE_CURRENT_LIST_DIR})
  foreach(name IN LISTS th_program_tests_mpi th_program_tests_alone th_program_tests_serial)
    file(GLOB script ${CMAKE_CURRENT_LIST_DIR}/*/test_${name}.py)
    add_test(NAME program.${name} COMMAND ${Python3_EXECUTABLE} ${script})
    set(labels program)
    if(NOT name MATCHES "corpus|score_curve")
      list(APPEND labels mpi)
    endif()
    if(name STREQUAL golden_checkpoint)
      list(APPEND labels golden)
    endif()
    set(processors 1)
    if(name IN_LIST th_program_tests_mpi)
      set(processors 2)
    endif()
    set_tests_properties(program.${name} PROPERTIES LABELS "${labels}" TIMEOUT 600
      PROCESSORS ${processors} SKIP_RETURN_CODE 77 ENVIRONMENT "${program_environment}")
    if(name IN_LIST th_program_tests_serial)
      set_tests_properties(program.${name} PROPERTIES RUN_SERIAL ON)
    endif()
  endforeach()
  set_tests_properties(program.save_killed program.stop_signal PROPERTIES
    RESOURCE_LOCK shared_memory)
  set_tests_properties(program.gpu_run PROPERTIES TIMEOUT 1200)  # some sixty runs
  # Every point of a save, by SIGKILL.
  add_test(NAME program.save_killed_everywhere
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/checkpoints/test_save_killed.py
      --everywhere)
  set_tests_properties(program.save_killed_everywhere PROPERTIES
    LABELS "long" TIMEOUT 7200 PROCESSORS 2 ENVIRONMENT "${program_environment}")
  # Twenty million lines: time and memory of a start from their index.
  add_test(NAME program.large_corpus
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/runs/test_large_corpus.py --long)
  set_tests_properties(program.large_corpus PROPERTIES
    LABELS "long" TIMEOUT 7200 RUN_SERIAL ON ENVIRONMENT "${program_environment}")
  # Every pair of two options' values.
  add_test(NAME program.option_value_pairs
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/runs/test_option_pairs.py --long)
  set_tests_properties(program.option_value_pairs PROPERTIES
    LABELS "long" TIMEOUT 7200 PROCESSORS 2 ENVIRONMENT "${program_environment}")
endif()
