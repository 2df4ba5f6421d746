function(th_empty_source variable)
  set(file ${CMAKE_BINARY_DIR}/generated/empty.cpp)
  file(CONFIGURE OUTPUT ${file} CONTENT "")
  set(${variable} ${file} PARENT_SCOPE)
endfunction()

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

# th_use_unity(target): its sources are compiled eight at a time as one, where TH_UNITY is on: most
# of a small source's time goes into headers and templates that its neighbours need as well. What
# a source has in a nameless namespace therefore needs a name of its own within its target.
function(th_use_unity target)
  set_target_properties(${target} PROPERTIES
    UNITY_BUILD ${TH_UNITY} UNITY_BUILD_MODE BATCH UNITY_BUILD_BATCH_SIZE 8)
endfunction()

# th_add_layer(NAME [TORCH] [DIR dir] [SOURCES …] DEPENDS …) makes one static library of all *.cpp
# below src/<dir>, with the project's warnings. Private headers are included by their path below
# src/. TORCH: its sources use LibTorch's tensors.
function(th_add_layer name)
  cmake_parse_arguments(A "TORCH" "DIR" "SOURCES;DEPENDS" ${ARGN})
  if(NOT A_SOURCES)
    file(GLOB_RECURSE A_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${A_DIR}/*.cpp)
  endif()
  if(NOT A_SOURCES)
    th_empty_source(A_SOURCES)
  endif()
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
    PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(${name} PUBLIC ${A_DEPENDS})
  th_apply_options(${name})
  th_use_unity(${name})
  if(A_TORCH)
    th_use_torch_pch(${name})
  else()
    th_use_standard_pch(${name})
  endif()
endfunction()

# Precompiled headers: th_base has one of the standard library's, th_model that and LibTorch's
# tensors; other targets use them again. A source includes what it uses all the same. The names are
# those of the headers that cost most, not of all that are used.
set(TH_STANDARD_HEADERS <algorithm> <array> <charconv> <cmath> <cstdint> <cstring> <filesystem>
  <fstream> <functional> <map> <memory> <mutex> <optional> <set> <span> <sstream> <string>
  <string_view> <thread> <utility> <vector>)

# th_use_standard_pch(target)
function(th_use_standard_pch target)
  th_use_pch(${target} th_base ${TH_STANDARD_HEADERS})
endfunction()

# th_use_torch_pch(target)
function(th_use_torch_pch target)
  th_use_pch(${target} th_model ${TH_STANDARD_HEADERS} <ATen/core/Tensor.h>)
endfunction()

# th_use_aten_pch(target): tests and benchmarks call more of LibTorch than the programs do.
function(th_use_aten_pch target)
  if(NOT TARGET th_aten)
    th_empty_source(source)
    add_library(th_aten STATIC EXCLUDE_FROM_ALL ${source})
    target_link_libraries(th_aten PRIVATE th_torch)
    th_apply_options(th_aten)
    th_use_pch(th_aten th_aten ${TH_STANDARD_HEADERS} <ATen/ATen.h>)
  endif()
  th_use_pch(${target} th_aten ${TH_STANDARD_HEADERS} <ATen/ATen.h>)
endfunction()

# th_use_pch(target owner HEADERS …): the owner compiles them, the others reuse its file.
function(th_use_pch target owner)
  if(${target} STREQUAL ${owner} OR TH_SANITIZE)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM ${owner})
  endif()
endfunction()

# th_add_program(NAME [TORCH] SOURCES … LIBS …)
function(th_add_program name)
  cmake_parse_arguments(A "TORCH" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LIBS})
  th_apply_options(${name})
  th_use_unity(${name})
  if(A_TORCH)
    th_use_torch_pch(${name})
  else()
    th_use_standard_pch(${name})
  endif()
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()
