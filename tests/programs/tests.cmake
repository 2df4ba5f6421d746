# The programs as a user runs them: whole runs of th_app, alone and below mpirun, and what
# th_inspect, th_translate, th_corpus, HDF5's own tools, h5py, TensorBoard and PyTorch make of what
# they leave. Each test_NAME.py is the test program.NAME; code 77 is a skip, with its reason.
if(TARGET th_app)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  # Eight ranks, or ranks that compute for most of the test:
  set(th_program_tests_crowded lock_step option_pairs translate_sharded)
  # One process at a time for most of it: half of a run of ranks is their start and end, and many
  # runs are of one process.
  set(th_program_tests
    attention_kinds audit benchmarks checkpoints choosing cli corpora corpus decoding
    decoding_options deepspeed2deck deepspeed_keys export_ctranslate2 fetch_corpus fine_tuning
    finished folder_troubles golden_checkpoint gpu_check gpu_run h5py hosts import_marian
    import_marianmt inspect inspect_average inspect_diff inspect_export inspect_import installed
    job_scripts metrics model_options newcomers nodes one_translation optimizers
    output_folder overlap plan precision profile pytorch replay report rerun
    resume resume_proof resume_troubles save_faults save_killed save_troubles score score_curve
    serve shortlist stop_signal summarization tensorboard tokenizers trace_rows translate
    translate_jobs translate_streams troubles validation watching windows)
  # Clocks, and the names in /dev/shm:
  set(th_program_tests_serial shared_memory turns)
  set(program_environment TH_SOURCE_DIR=${CMAKE_SOURCE_DIR}
    TH_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY} TH_MPIRUN=${MPIEXEC_EXECUTABLE}
    PYTHONPATH=${CMAKE_CURRENT_LIST_DIR}
    # LibTorch's start touches 50 MB of small blocks; in large pages that takes a fifth less time.
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1)
  # th_add_long_program_test(name script OPTION): label long, two hours at most.
  function(th_add_long_program_test name script option)
    file(GLOB script ${CMAKE_CURRENT_LIST_DIR}/*/test_${script}.py)
    add_test(NAME program.${name} COMMAND ${Python3_EXECUTABLE} ${script} ${option})
    set_tests_properties(program.${name} PROPERTIES
      LABELS "long" TIMEOUT 7200 PROCESSORS 2 ENVIRONMENT "${program_environment}")
  endfunction()
  foreach(name IN LISTS th_program_tests_crowded th_program_tests th_program_tests_serial)
    file(GLOB script ${CMAKE_CURRENT_LIST_DIR}/*/test_${name}.py)
    add_test(NAME program.${name} COMMAND ${Python3_EXECUTABLE} ${script})
    set(labels program)
    if(NOT name MATCHES "corpus|score_curve|turns")
      list(APPEND labels mpi)
    endif()
    if(name STREQUAL golden_checkpoint)
      list(APPEND labels golden)
    endif()
    set(processors 1)
    if(name IN_LIST th_program_tests_crowded)
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
  # The longest begin first: seconds by themselves, as far as the order needs them.
  set_tests_properties(program.gpu_run PROPERTIES COST 60)
  foreach(name checkpoints cli corpora folder_troubles gpu_check optimizers plan resume shortlist
      stop_signal tokenizers translate_jobs translate_streams)
    set_tests_properties(program.${name} PROPERTIES COST 30)
  endforeach()
  foreach(name decoding_options one_translation save_faults save_killed troubles)
    set_tests_properties(program.${name} PROPERTIES COST 20)
  endforeach()
  # The Debian package in a bare Debian, which needs root, the network and ten minutes.
  th_add_long_program_test(deb deb --long)
  set_tests_properties(program.deb PROPERTIES SKIP_RETURN_CODE 77)
  # Every point of a save, by SIGKILL.
  th_add_long_program_test(save_killed_everywhere save_killed --everywhere)
  # A hundred flipped bits, and ten thousand audits of sound runs.
  th_add_long_program_test(audit_everywhere audit --long)
  # Every pair of two options' values.
  th_add_long_program_test(option_value_pairs option_pairs --long)
  # Every link, rank count and moment of which a covering set runs otherwise.
  foreach(name decoding_options nodes one_translation optimizers shortlist tokenizers translate_jobs
      watching)
    th_add_long_program_test(${name}_long ${name} --long)
  endforeach()
  # Twenty million lines: time and memory of a start from their index.
  th_add_long_program_test(large_corpus large_corpus --long)
  set_tests_properties(program.large_corpus program.watching_long PROPERTIES RUN_SERIAL ON)
endif()
