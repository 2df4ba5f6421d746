# The model is compared with numbers that PyTorch made (make_golden.py): logits, gradients, ten
# steps of Adam; each option of a model with those of make_options.py; optimizers with
# make_optimizers.py's.
add_executable(th_golden golden/test_golden.cpp golden/test_optimizers.cpp
  golden/test_options.cpp)
th_apply_options(th_golden)
th_compile_quickly(th_golden)
target_include_directories(th_golden PRIVATE ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(th_golden PRIVATE th_zero nlohmann_json::nlohmann_json GTest::gtest)
th_use_aten_pch(th_golden)
target_compile_definitions(th_golden PRIVATE TH_GOLDEN_DIR="${CMAKE_CURRENT_LIST_DIR}")
foreach(gemm onednn mkl)
  add_test(NAME golden.pytorch.${gemm} COMMAND th_golden ${gemm} --gtest_brief=1)
  set_tests_properties(golden.pytorch.${gemm} PROPERTIES LABELS golden TIMEOUT 120
    ENVIRONMENT "OMP_NUM_THREADS=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
endforeach()

# Kinds of attention and positions, against dense attention in PyTorch (make_attention.py).
add_executable(th_golden_attention golden/test_attention.cpp)
th_apply_options(th_golden_attention)
th_compile_quickly(th_golden_attention)
target_include_directories(th_golden_attention PRIVATE ${CMAKE_SOURCE_DIR}/src
  ${CMAKE_CURRENT_SOURCE_DIR}/unit/model)
target_link_libraries(th_golden_attention PRIVATE th_zero nlohmann_json::nlohmann_json
  GTest::gtest_main)
th_use_aten_pch(th_golden_attention)
target_compile_definitions(th_golden_attention PRIVATE TH_GOLDEN_DIR="${CMAKE_CURRENT_LIST_DIR}")
add_test(NAME golden.attention COMMAND th_golden_attention --gtest_brief=1)
set_tests_properties(golden.attention PROPERTIES LABELS golden TIMEOUT 120
  ENVIRONMENT "OMP_NUM_THREADS=1")
