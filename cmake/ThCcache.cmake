# ccache where it is there: LibTorch's headers make each compilation slow.
find_program(TH_CCACHE ccache)
if(TH_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # sloppiness: what ccache needs to cache compilations that use a precompiled header
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${TH_CCACHE})
endif()
