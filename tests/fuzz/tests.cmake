# Fuzzers of the readers, below the sanitizers of addresses and of undefined behaviour: three
# seconds each, ten minutes under the label long. The sources of the readers are compiled once more
# for them, with the report of the blocks that run; a build that is sanitized itself does without.
set(fuzz_readers deck corpus tokenizer checkpoint safetensors npz metrics journal)
set(fuzz_flags -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all
  -fno-omit-frame-pointer)

include(CheckCXXSourceCompiles)
list(JOIN fuzz_flags " " CMAKE_REQUIRED_FLAGS)
check_cxx_source_compiles("int main(int argc, char**) { return argc - 1; }" TH_HAS_SANITIZERS)
string(APPEND CMAKE_REQUIRED_FLAGS " -fsanitize-coverage=trace-pc")
check_cxx_source_compiles(
  "extern \"C\" void __sanitizer_cov_trace_pc() {} int main(int argc, char**) { return argc - 1; }"
  TH_HAS_COVERAGE)
unset(CMAKE_REQUIRED_FLAGS)

if(NOT TH_HAS_SANITIZERS)
  foreach(reader IN LISTS fuzz_readers)
    add_test(NAME fuzz.${reader} COMMAND ${CMAKE_COMMAND} -E echo
      "skipped: ${CMAKE_CXX_COMPILER_ID} links no program with -fsanitize=address,undefined here")
    set_tests_properties(fuzz.${reader} PROPERTIES LABELS fuzz SKIP_REGULAR_EXPRESSION skipped)
  endforeach()
  return()
endif()

set(src ${CMAKE_SOURCE_DIR}/src)
if(TH_SANITIZE)
  set(fuzz_libraries th_io th_monitor th_parameter_units th_run_state)
else()
  # th_add_fuzzed(NAME SOURCES …): a library of sources of the readers.
  function(th_add_fuzzed name)
    add_library(th_fuzzed_${name} OBJECT ${ARGN})
    target_include_directories(th_fuzzed_${name} PUBLIC ${CMAKE_SOURCE_DIR}/include ${src}
      ${CMAKE_BINARY_DIR}/generated)
    target_link_libraries(th_fuzzed_${name} PUBLIC Threads::Threads spdlog::spdlog
      nlohmann_json::nlohmann_json Boost::program_options ZLIB::ZLIB th_sentencepiece th_hdf5)
    target_compile_options(th_fuzzed_${name} PRIVATE -O1 -g1 -UNDEBUG -D_GLIBCXX_ASSERTIONS
      ${fuzz_flags} $<$<BOOL:${TH_HAS_COVERAGE}>:-fsanitize-coverage=trace-pc>)
    set_target_properties(th_fuzzed_${name} PROPERTIES
      UNITY_BUILD ON UNITY_BUILD_MODE BATCH UNITY_BUILD_BATCH_SIZE 12)
    th_use_pch(th_fuzzed_${name} th_fuzzed_base ${TH_STANDARD_HEADERS} <nlohmann/json.hpp>)
  endfunction()
  file(GLOB base_sources CONFIGURE_DEPENDS ${src}/base/*.cpp)
  file(GLOB config_sources CONFIGURE_DEPENDS ${src}/config/*.cpp ${src}/config/keys/*.cpp)
  file(GLOB_RECURSE data_sources CONFIGURE_DEPENDS ${src}/data/tokenizer/*.cpp)
  list(APPEND data_sources ${src}/data/text.cpp ${src}/data/byte_source.cpp
    ${src}/data/corpus.cpp ${src}/data/index/index_file.cpp ${src}/data/index/index_writer.cpp)
  file(GLOB io_sources CONFIGURE_DEPENDS ${src}/io/checkpoint/*.cpp)
  list(APPEND io_sources ${src}/io/hdf5.cpp ${src}/io/file_seal.cpp ${src}/io/element_type.cpp
    ${src}/io/failure_point.cpp ${src}/io/formats/safetensors.cpp
    ${src}/io/formats/npz_reader.cpp ${src}/io/formats/yaml_map.cpp
    ${src}/zero/flat/flat_layout.cpp)
  th_add_fuzzed(base ${base_sources})
  th_add_fuzzed(config ${config_sources} ${src}/model/parameters/model_units.cpp
    ${src}/train/run_state.cpp ${src}/monitor/metrics.cpp ${src}/monitor/log_tail.cpp)
  th_add_fuzzed(data ${data_sources})
  th_add_fuzzed(io ${io_sources})
  set(fuzz_libraries th_fuzzed_base th_fuzzed_config th_fuzzed_data th_fuzzed_io th_fuzzed_app)
endif()
file(GLOB app_sources CONFIGURE_DEPENDS ${src}/app/interchange/foreign_model.cpp
  ${src}/app/interchange/marian*.cpp ${src}/app/interchange/vocabularies.cpp)
list(APPEND app_sources ${src}/app/inspect/inspect_import.cpp
  ${src}/app/inspect/inspect_foreign.cpp ${src}/app/inspect/inspect_view.cpp
  ${src}/app/inspect/recorded_scores.cpp ${src}/app/stream/journal.cpp
  ${src}/app/stream/output_file.cpp)
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
if(TH_SANITIZE)
  add_executable(th_fuzz ${fuzz_sources} ${app_sources})
else()
  th_add_fuzzed(app ${app_sources})
  add_executable(th_fuzz ${fuzz_sources})
  target_compile_options(th_fuzz PRIVATE -O1 -g1 -UNDEBUG ${fuzz_flags})
  target_link_options(th_fuzz PRIVATE ${fuzz_flags})
endif()
th_apply_options(th_fuzz)
target_link_libraries(th_fuzz PRIVATE ${fuzz_libraries})
target_include_directories(th_fuzz PRIVATE ${src} ${CMAKE_CURRENT_LIST_DIR})
target_compile_definitions(th_fuzz PRIVATE TH_SOURCE_DIR="${CMAKE_SOURCE_DIR}")

foreach(reader IN LISTS fuzz_readers)
  foreach(seconds 3 600)
    if(seconds EQUAL 3)
      set(name fuzz.${reader})
      set(label fuzz)
    else()
      set(name fuzz_long.${reader})
      set(label long)
    endif()
    add_test(NAME ${name} COMMAND th_fuzz ${reader} --seconds ${seconds}
      --report ${CMAKE_BINARY_DIR})
    set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 1200)
  endforeach()
endforeach()

# All of the programs below the same sanitizers: a build and a run of the tests of two labels.
if(NOT TH_SANITIZE)
  add_test(NAME sanitized.unit_and_mpi COMMAND ${CMAKE_COMMAND} --workflow --preset asan-ubsan
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(sanitized.unit_and_mpi PROPERTIES LABELS long TIMEOUT 43200 RUN_SERIAL ON)
endif()
