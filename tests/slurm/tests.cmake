# jobs/*.sbatch run for real on two virtual nodes. The tests are skipped (code 77) without Slurm's
# packages or ../shared/slurm.
if(TARGET th_app)
  foreach(case single multi requeue translate)
    add_test(NAME slurm.${case}
      COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run_slurm_test.sh ${case} ${CMAKE_SOURCE_DIR}
        $<TARGET_FILE:th_app>)
    set_tests_properties(slurm.${case} PROPERTIES LABELS slurm TIMEOUT 400 PROCESSORS 2
      SKIP_RETURN_CODE 77 RESOURCE_LOCK slurm_sandbox)
  endforeach()
endif()
