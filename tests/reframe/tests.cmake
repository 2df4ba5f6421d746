# ReFrame's test of an installed th_app (th_app.py, which is installed for sites), on two virtual
# nodes.
if(TARGET th_app)
  add_test(NAME reframe.two_nodes
    COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run_reframe_test.sh ${CMAKE_SOURCE_DIR}
      ${CMAKE_BINARY_DIR})
  set_tests_properties(reframe.two_nodes PROPERTIES LABELS long TIMEOUT 1200
    SKIP_RETURN_CODE 77 RESOURCE_LOCK slurm_sandbox)
endif()
