# Bad input of every kind gives one clear message from one rank, the contract's exit code, no hang
# and nothing half-written.
set(fault_cases
  unknown_key contradictory_keys several_problems
  missing_file invalid_utf8 empty_line empty_lines_skipped unequal_line_counts
  corpus_too_small more_ranks_than_slots unwritable_output resume_missing resume_other_model
  launch_alone narrow_binding hung_rank hung_rank_overlap killed_rank other_build order_checked
  no_deck)
if(TARGET th_app)
  foreach(case IN LISTS fault_cases)
    add_test(NAME fault.${case}
      COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run_fault_test.sh ${case} ${CMAKE_SOURCE_DIR}
        $<TARGET_FILE:th_app> ${MPIEXEC_EXECUTABLE})
    # What a process of another test leaves in memory would count as this one's.
    set_tests_properties(fault.${case} PROPERTIES
      LABELS fault TIMEOUT 150 RESOURCE_LOCK shared_memory)
  endforeach()
  # The other ranks have as long as the launcher gives them.
  set_tests_properties(fault.killed_rank PROPERTIES PROCESSORS 2)
  # A rank is stopped for longer than the limit of three seconds, and nobody else may be.
  set_tests_properties(fault.hung_rank fault.hung_rank_overlap PROPERTIES RUN_SERIAL ON)
endif()
