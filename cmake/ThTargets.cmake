# th_add_layer(NAME [DIR dir] [SOURCES …] DEPENDS …) makes one static library of all *.cpp below
# src/<dir>, with the project's warnings. Private headers are included by their path below src/.
function(th_apply_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
    $<$<BOOL:${TH_WERROR}>:-Werror>)
  # One rounding for each operation, on every instruction set: the bits of a run depend on it.
  target_compile_options(${target} PRIVATE
    -ffp-contract=off -fno-math-errno -fno-trapping-math -fopenmp-simd)
  if(TH_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${TH_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${TH_SANITIZE})
  endif()
endfunction()

function(th_add_layer name)
  cmake_parse_arguments(A "" "DIR" "SOURCES;DEPENDS" ${ARGN})
  if(NOT A_SOURCES)
    file(GLOB_RECURSE A_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${A_DIR}/*.cpp)
  endif()
  if(NOT A_SOURCES)
    file(WRITE ${CMAKE_BINARY_DIR}/generated/empty.cpp "")
    set(A_SOURCES ${CMAKE_BINARY_DIR}/generated/empty.cpp)
  endif()
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/include
    PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(${name} PUBLIC ${A_DEPENDS})
  th_apply_options(${name})
endfunction()

# th_use_torch_pch(target): the torch headers once for all files of the target.
function(th_use_torch_pch target)
  if(TARGET th_model AND NOT ${target} STREQUAL th_model AND NOT TH_SANITIZE)
    target_precompile_headers(${target} REUSE_FROM th_model)
  else()
    target_precompile_headers(${target} PRIVATE <ATen/ATen.h>)
  endif()
endfunction()

function(th_add_program name)
  add_executable(${name} ${ARGN})
  th_apply_options(${name})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()
