# Every third-party package as an imported target. Nothing is downloaded here:
# tools/install_dependencies.sh does that.
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(Boost 1.71 REQUIRED COMPONENTS program_options)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
set(HDF5_PREFER_PARALLEL OFF)
find_package(HDF5 REQUIRED COMPONENTS C)
add_library(th_hdf5 INTERFACE)
target_include_directories(th_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(th_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
target_compile_definitions(th_hdf5 INTERFACE H5_USE_110_API)
# Debian's package brings no file for CMake.
find_path(TH_SENTENCEPIECE_INCLUDE sentencepiece_trainer.h)
find_library(TH_SENTENCEPIECE_LIBRARY sentencepiece)
find_library(TH_SENTENCEPIECE_TRAIN_LIBRARY sentencepiece_train)
if(NOT TH_SENTENCEPIECE_INCLUDE OR NOT TH_SENTENCEPIECE_LIBRARY
    OR NOT TH_SENTENCEPIECE_TRAIN_LIBRARY)
  message(FATAL_ERROR "SentencePiece was not found (sentencepiece_trainer.h, libsentencepiece, "
    "libsentencepiece_train). Run tools/install_dependencies.sh, or install libsentencepiece-dev; "
    "CMAKE_PREFIX_PATH names a folder with include/ and lib/.")
endif()
add_library(th_sentencepiece INTERFACE)
target_include_directories(th_sentencepiece SYSTEM INTERFACE ${TH_SENTENCEPIECE_INCLUDE})
target_link_libraries(th_sentencepiece INTERFACE
  ${TH_SENTENCEPIECE_TRAIN_LIBRARY} ${TH_SENTENCEPIECE_LIBRARY})
# The programs need neither of these, and a quick start does not install them.
if(TH_ENABLE_TESTS)
  find_package(GTest QUIET)
  if(NOT GTest_FOUND)
    message(STATUS "Tests: no; GoogleTest is missing (tools/install_dependencies.sh --with-tests)")
  endif()
endif()
if(TH_ENABLE_BENCHMARKS)
  find_package(benchmark QUIET)
endif()

# LibTorch is the folder `torch` of the PyPI wheel. Its imported targets are made here, because the
# wheel's package file demands the CUDA toolkit.
set(TH_LIBTORCH "" CACHE PATH "Folder of a LibTorch (with include/ and lib/)")
if(NOT TH_LIBTORCH AND DEFINED ENV{TH_LIBTORCH})
  set(TH_LIBTORCH $ENV{TH_LIBTORCH} CACHE PATH "" FORCE)
endif()
if(NOT TH_LIBTORCH)
  set(TH_LIBTORCH ${CMAKE_SOURCE_DIR}/.deps/libtorch/torch CACHE PATH "" FORCE)
endif()
find_library(TH_TORCH_CPU_LIBRARY torch_cpu PATHS ${TH_LIBTORCH}/lib NO_DEFAULT_PATH)
find_library(TH_C10_LIBRARY c10 PATHS ${TH_LIBTORCH}/lib NO_DEFAULT_PATH)
if(NOT TH_TORCH_CPU_LIBRARY OR NOT TH_C10_LIBRARY)
  message(FATAL_ERROR "LibTorch was not found in ${TH_LIBTORCH}. "
    "Run tools/install_dependencies.sh, "
    "or set TH_LIBTORCH to a folder that holds include/ and lib/.")
endif()
# The threads of LibTorch's own OpenMP library compute our ranges too: a second library would have
# threads of its own beside them.
file(GLOB TH_OPENMP_LIBRARY ${TH_LIBTORCH}/lib/libgomp*.so*)
if(NOT TH_OPENMP_LIBRARY)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(TH_OPENMP_LIBRARY OpenMP::OpenMP_CXX)
endif()
file(GLOB TH_NVIDIA_LIB_DIRS ${TH_LIBTORCH}/../nvidia/*/lib)
set(TH_TORCH_RPATH ${TH_LIBTORCH}/lib ${TH_NVIDIA_LIB_DIRS})
add_library(th_torch INTERFACE)
target_include_directories(th_torch SYSTEM INTERFACE
  ${TH_LIBTORCH}/include ${TH_LIBTORCH}/include/torch/csrc/api/include)
target_link_libraries(th_torch INTERFACE ${TH_TORCH_CPU_LIBRARY} ${TH_C10_LIBRARY})
foreach(dir IN LISTS TH_TORCH_RPATH)
  target_link_options(th_torch INTERFACE "LINKER:-rpath-link,${dir}")
endforeach()
set(CMAKE_BUILD_RPATH ${TH_TORCH_RPATH})
find_file(TH_TORCH_VERSION_HEADER version.h NO_DEFAULT_PATH PATHS
  ${TH_LIBTORCH}/include/torch/headeronly ${TH_LIBTORCH}/include/torch/csrc/api/include/torch)
file(STRINGS ${TH_TORCH_VERSION_HEADER} version_lines
  REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]")
string(REGEX REPLACE "[^0-9;]" "" version_lines "${version_lines}")
list(JOIN version_lines "." TH_TORCH_VERSION)
message(STATUS "LibTorch ${TH_TORCH_VERSION}: ${TH_LIBTORCH}")

# CUDA and NCCL, for the plugin src/cuda alone. TH_CUDA says whether it is built.
set(TH_CUDA OFF)
if(NOT TH_WITH_CUDA STREQUAL OFF)
  include(ThCuda)
endif()
