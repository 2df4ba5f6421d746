# Finds the CUDA toolkit and NCCL; sets TH_CUDA, TH_NCCL_INCLUDE_DIR, TH_NCCL_LIBRARY and
# CUDA::cudart_static. With TH_WITH_CUDA=AUTO what is missing switches CUDA off with one line; with
# ON it is an error.
include(CheckLanguage)
find_program(TH_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH
  PATHS /usr/local/cuda PATH_SUFFIXES bin)
set(missing "")
if(NOT TH_NVCC)
  set(missing "nvcc of the CUDA toolkit (CUDACXX or CUDA_HOME say where it is)")
else()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90 CACHE STRING "GPU architectures: A100 and H100 or later")
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    set(ENV{CUDACXX} ${TH_NVCC})
    check_language(CUDA)  # a compiler that cannot build switches AUTO off
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    set(missing "an nvcc that works with ${CMAKE_CXX_COMPILER} (${TH_NVCC} does not)")
  endif()
endif()
if(NOT missing)
  get_filename_component(toolkit ${TH_NVCC} REALPATH)
  get_filename_component(toolkit ${toolkit} DIRECTORY)
  get_filename_component(toolkit ${toolkit} DIRECTORY)
  find_path(TH_NCCL_INCLUDE_DIR nccl.h
    HINTS ENV NCCL_ROOT ENV NCCL_HOME ${toolkit} PATH_SUFFIXES include)
  find_library(TH_NCCL_LIBRARY NAMES nccl nccl_static
    HINTS ENV NCCL_ROOT ENV NCCL_HOME ${toolkit} PATH_SUFFIXES lib lib64)
  if(NOT TH_NCCL_INCLUDE_DIR OR NOT TH_NCCL_LIBRARY)
    set(missing "NCCL's nccl.h and libnccl (NCCL_ROOT says where they are)")
  endif()
  find_path(TH_CUBLASLT_INCLUDE_DIR cublasLt.h
    HINTS ${toolkit} PATH_SUFFIXES include targets/x86_64-linux/include)
  if(NOT missing AND NOT TH_CUBLASLT_INCLUDE_DIR)
    set(missing "cuBLAS's cublasLt.h")
  endif()
endif()
if(missing AND TH_WITH_CUDA STREQUAL ON)
  message(FATAL_ERROR "TH_WITH_CUDA=ON, but not found: ${missing}. "
    "Install it, or configure with -DTH_WITH_CUDA=OFF.")
elseif(missing)
  message(STATUS "CUDA plugin: no; not found: ${missing}")
else()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  set(TH_CUDA ON)
  message(STATUS "CUDA plugin: CUDA ${CUDAToolkit_VERSION}, ${TH_NCCL_LIBRARY}, "
    "architectures ${CMAKE_CUDA_ARCHITECTURES}")
endif()
