# What the header of a run says about its build.
execute_process(COMMAND git describe --always --dirty --tags WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  OUTPUT_VARIABLE TH_GIT_DESCRIBE OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT TH_GIT_DESCRIBE)
  set(TH_GIT_DESCRIBE "no git")
endif()
configure_file(${CMAKE_SOURCE_DIR}/cmake/build_info_values.hpp.in
  ${CMAKE_BINARY_DIR}/generated/build_info_values.hpp @ONLY)
