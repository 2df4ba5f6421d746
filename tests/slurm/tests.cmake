# jobs/*.sbatch run for real on two virtual nodes. The tests are skipped (code 77) without Slurm's
# packages or ../shared/slurm. Most of their time Slurm's daemons wait for each other.
if(TARGET th_app)
  foreach(case single multi requeue translate)
    add_test(NAME slurm.${case}
      COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run_slurm_test.sh ${case} ${CMAKE_SOURCE_DIR}
        $<TARGET_FILE:th_app>)
    set_tests_properties(slurm.${case} PROPERTIES LABELS slurm TIMEOUT 400
      SKIP_RETURN_CODE 77 RESOURCE_LOCK slurm_sandbox COST 30)
  endforeach()
endif()
